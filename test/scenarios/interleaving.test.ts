// Many clients over one server connection, all at once, each with a random life of its own: every answer is the one
// that the client would have had alone. Whatever leaked from one to another would be seen here, and whatever is not as the
// server alone would do it in transactions that are kept.
import { test } from 'node:test';
import { withSandbox } from '../../src/sandbox/index.ts';
import { inFrontOf } from './harness/index.ts';
import { RawClient } from './raw-client.ts';
import { type Connect, compare, holds, runsOr, Stage, sequences } from './sequences/index.ts';

const OPTIONS = {
  replication: 'async',
  nodes: 1,
  workers: 1,
  config: 'pool: { maxPerNode: 1 }',
} as const;
const CLIENTS = 5;
const LIMIT_MS = 20_000;

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor}: ${CLIENTS} clients share one server connection and see nothing of each other`, {
    timeout: 600_000,
  }, async () => {
    await withSandbox({ ...OPTIONS, flavor }, async (sandbox) => {
      const [node] = sandbox.nodes;
      if (node === undefined) throw new Error('a sandbox without a node');
      const { user, password } = sandbox.app;
      const connectTo =
        (port: number): Connect =>
        ({ database, ...login }) =>
          RawClient.login({ port, user, password, ...(database === null ? {} : { database }) }, login);
      const stage = await Stage.set(sandbox, { host: node.host, port: node.port, ...sandbox.admin });
      try {
        await inFrontOf(sandbox, OPTIONS, (ek) =>
          holds(sequences(CLIENTS, 12), { runs: runsOr(10), limitMs: LIMIT_MS }, (all) =>
            compare(stage, all, connectTo(node.port), connectTo(ek.ports.writer)),
          ),
        );
      } finally {
        await stage.close();
      }
    });
  });
}
