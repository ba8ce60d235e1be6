// A session through the proxy is the session that the server would have given: random sequences of what clients do are
// answered alike, packet for packet, past the proxy and through it. Once alone; once over a single server connection
// that others use all the time, so that the session has to leave it between any two statements.
import { test } from 'node:test';
import { withSandbox } from '../../src/sandbox/index.ts';
import { type Evenkeel, inFrontOf } from './harness/index.ts';
import { RawClient } from './raw-client.ts';
import { type Connect, capabilities, compare, holds, Noise, runsOr, Stage, sequence } from './sequences/index.ts';

const OPTIONS = { replication: 'async', nodes: 1, workers: 1 } as const;
const LIMIT_MS = 10_000;
/** The clients that make noise; the one that is looked at is number 0. */
const NOISY = { first: 1, many: 2 } as const;

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor}: a session through the proxy`, { timeout: 600_000 }, async (t) => {
    await withSandbox({ ...OPTIONS, flavor }, async (sandbox) => {
      const [node] = sandbox.nodes;
      if (node === undefined) throw new Error('a sandbox without a node');
      const { user, password } = sandbox.app;
      const connectTo =
        (port: number): Connect =>
        ({ database, ...login }) =>
          RawClient.login({ port, user, password, ...(database === null ? {} : { database }) }, login);
      const direct = connectTo(node.port);
      const stage = await Stage.set(sandbox, { host: node.host, port: node.port, ...sandbox.admin });
      const through = (ek: Evenkeel): Connect => connectTo(ek.ports.writer);
      try {
        await t.test('is answered as by the server', async () => {
          await inFrontOf(sandbox, OPTIONS, (ek) =>
            holds(sequence(capabilities, 25), { runs: runsOr(30), limitMs: LIMIT_MS }, (one) =>
              compare(stage, [one], direct, through(ek)),
            ),
          );
        });
        await t.test('is answered so on a server connection that others use in between', async () => {
          await stage.reset(NOISY.first + NOISY.many);
          await inFrontOf(sandbox, { ...OPTIONS, config: 'pool: { maxPerNode: 1 }' }, (ek) =>
            holds(sequence(capabilities, 20), { runs: runsOr(18), limitMs: LIMIT_MS }, async (one) => {
              const noise = await Noise.start(stage, through(ek), one.capabilities, NOISY.first, NOISY.many);
              try {
                await compare(stage, [one], direct, through(ek), noise.others);
              } finally {
                await noise.stop();
              }
            }),
          );
        });
      } finally {
        await stage.close();
      }
    });
  });
}
