// `route: auto` gives the answers that the primary gives: random sequences of what clients do are played past the proxy, at
// the primary, and through `auto`, where half of the reads are a replica's. What a session has built up, its prepared
// statements and its own writes must be on whichever server answers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import mysql, { type RowDataPacket } from 'mysql2/promise';
import { freePorts, type SandboxInfo, type SandboxNode, withSandbox } from '../../src/sandbox/index.ts';
import { addressOf, inFrontOf } from './harness/index.ts';
import { RawClient } from './raw-client.ts';
import { type Connect, capabilities, compare, holds, runsOr, Stage, sequence } from './sequences/index.ts';

const OPTIONS = { replication: 'async', nodes: 2, workers: 1 } as const;
const LIMIT_MS = 8000;

/** Waits until the replica has all that the primary has. */
async function caughtUp({ flavor, admin }: SandboxInfo, primary: SandboxNode, replica: SandboxNode): Promise<void> {
  const login = { user: admin.user, password: admin.password, host: primary.host };
  const [of, at] = await Promise.all([primary, replica].map(({ port }) => mysql.createConnection({ ...login, port })));
  const [position, wait] =
    flavor === 'mysql'
      ? ['@@global.gtid_executed', 'WAIT_FOR_EXECUTED_GTID_SET']
      : ['@@global.gtid_binlog_pos', 'MASTER_GTID_WAIT'];
  const [[row]] = (await of?.query<RowDataPacket[]>(`SELECT ${position} AS p`)) ?? [[]];
  const [[done]] = (await at?.query<RowDataPacket[]>(`SELECT ${wait}(?, 10) AS late`, [row?.['p']])) ?? [[]];
  of?.destroy();
  at?.destroy();
  assert.equal(Number(done?.['late']), 0, 'the replica does not follow');
}

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor}: a session whose reads leave the primary is answered as by the primary`, {
    timeout: 300_000,
  }, async () => {
    await withSandbox({ ...OPTIONS, flavor }, async (sandbox) => {
      const [port = 0] = await freePorts(1);
      const endpoints = `  - { name: auto, cluster: shop, listen: "127.0.0.1:${port}", route: auto }`;
      await inFrontOf(sandbox, { ...OPTIONS, endpoints }, async (evenkeel) => {
        await evenkeel.healthy();
        const primary = await evenkeel.primary();
        const [replica] = await evenkeel.replicas();
        const { user, password } = sandbox.app;
        const connectTo =
          (where: number): Connect =>
          ({ database, ...login }) =>
            RawClient.login({ port: where, user, password, ...(database === null ? {} : { database }) }, login);
        const admin = { host: primary.host, port: primary.port, ...sandbox.admin };
        const stage = await Stage.set(sandbox, admin, () => caughtUp(sandbox, primary, replica as SandboxNode));
        try {
          await holds(sequence(capabilities, 25), { runs: runsOr(9), limitMs: LIMIT_MS }, (one) =>
            compare(stage, [one], connectTo(primary.port), connectTo(port)),
          );
        } finally {
          await stage.close();
        }
        assert.equal(addressOf(await evenkeel.primary()), addressOf(primary));
      });
    });
  });
}
