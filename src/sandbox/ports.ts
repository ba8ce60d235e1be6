// Free ports for servers that will be killed and started again: chosen below the range from which the kernel takes
// the ports of outgoing connections. From inside it, a client could be given a killed node's port, and the node could
// not come back (or the client would reach itself).
import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { SandboxError } from './errors.ts';

const LOWEST = 11_000;

/** As many different TCP ports on 127.0.0.1 that nobody listens on now. */
export async function freePorts(count: number): Promise<number[]> {
  const range = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '32768');
  const ephemeral = Number.parseInt(range, 10);
  const highest = ephemeral > LOWEST + 1000 ? ephemeral : 65_536;
  const ports = new Set<number>();
  for (let tries = 0; ports.size < count; tries += 1) {
    if (tries > 200)
      throw new SandboxError('start-failed', `no free ports between ${LOWEST} and ${highest} on 127.0.0.1`);
    const port = randomInt(LOWEST, highest);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
