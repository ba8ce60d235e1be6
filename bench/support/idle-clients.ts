// A process of idle clients: reads on standard input where and how many, logs them in, says so, and waits to be
// killed. It ends with an error where one of them is refused or loses its connection.
import { text } from 'node:stream/consumers';
import { RawClient } from '../../test/scenarios/raw-client.ts';
import type { Target } from './sysbench.ts';

const AT_A_TIME = 32;

const { clients, port, user, password, database } = JSON.parse(await text(process.stdin)) as Target & {
  clients: number;
};
const all: RawClient[] = [];
let begun = 0;

async function logIn(): Promise<void> {
  while (begun < clients) {
    begun++;
    const client = await RawClient.login({ port, user, password, database });
    client.socket.once('close', () => {
      process.stderr.write('a client lost its connection\n');
      process.exit(1);
    });
    all.push(client);
  }
}

await Promise.all(Array.from({ length: AT_A_TIME }, logIn));
process.stdout.write(`${all.length}: all logged in\n`);
