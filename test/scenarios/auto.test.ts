// `route: auto` on real servers: what leaves the primary, and that a session never reads what is older than its own writes,
// whichever replica answers, however far behind it is.
import assert from 'node:assert/strict';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { freePorts, type SandboxNode } from '../../src/sandbox/index.ts';
import { addressOf, directly, type Evenkeel, stories, through, until } from './harness/index.ts';

const [port = 0] = await freePorts(1);

async function clientOf(evenkeel: Evenkeel): Promise<Connection> {
  return mysql.createConnection({ ...evenkeel.login(), port });
}

const rowsOf = async (client: Connection, sql: string): Promise<Record<string, unknown>[]> =>
  (await client.query<RowDataPacket[]>(sql))[0];

stories(
  'reads leave the primary',
  {
    replication: 'semisync',
    nodes: 3,
    workers: 1,
    endpoints: `  - { name: auto, cluster: shop, listen: "127.0.0.1:${port}", route: auto }`,
  },
  {
    'and go to replicas, each alone; writes, locks and questions about the server stay': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE things (id INT PRIMARY KEY, n INT)', 'INSERT INTO things VALUES (1, 0)');
      const client = await clientOf(evenkeel);
      for (let n = 1; n <= 200; n++) {
        await client.query(`UPDATE things SET n = ${n} WHERE id = 1`);
        assert.deepEqual(await rowsOf(client, 'SELECT n FROM things WHERE id = 1'), [{ n }], `the ${n}th`);
      }
      console.log((await (await evenkeel.fetch('/metrics')).text()).split('\n').filter((l) => /causal|auto_|opened_total|pipelined/.test(l)).join('\n'));
      await client.end();
    },
  },
);
void addressOf; void directly; void until; let x: SandboxNode | null = null; void x;
