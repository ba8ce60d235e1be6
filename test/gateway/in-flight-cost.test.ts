// What it costs that writes in flight are kept: a whole worker between clients and a server that counts how often commands
// reach it (what is sent together counts once: the server is waited for once), and which numbers are chosen.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { InFlightMode } from '../../src/messages/index.ts';
import { DUPLICATE, type Stage, staged } from './worker-stage.ts';

const MODES = (['report', 'exactly-once'] as const).map((mode) => ({ name: mode, cluster: 'c', inFlight: mode }));

/** How often the server was waited for. */
async function flights(
  { server, clients }: Stage<InFlightMode>,
  mode: InFlightMode,
  sqls: readonly string[],
): Promise<number> {
  const count = (): number => server.connections.reduce((sum, { flights: each }) => sum + each, 0);
  const before = count();
  for (const sql of sqls) {
    const told = clients[mode].query(sql);
    if (sql.includes('fails')) await assert.rejects(told, { errno: DUPLICATE.errno });
    else await told;
  }
  return count() - before;
}

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor}: a single write waits for the server once more, a transaction never`, async (t) => {
    const stage = await staged(t, flavor, MODES);
    const cases: Record<string, { sqls: readonly string[]; more: number }> = {
      'a write': { sqls: ['INSERT INTO t VALUES (1)'], more: 1 },
      'a write that fails': { sqls: ['INSERT INTO fails VALUES (1)', 'INSERT INTO t VALUES (1)'], more: 2 },
      'a transaction': { sqls: ['BEGIN', 'UPDATE t SET n = 1', 'INSERT INTO t VALUES (2)', 'COMMIT'], more: 0 },
      'a transaction with options': { sqls: ['START TRANSACTION READ WRITE', 'DELETE FROM t', 'COMMIT'], more: 0 },
      'one that ends by ROLLBACK': { sqls: ['BEGIN', 'UPDATE t SET n = 1', 'ROLLBACK'], more: 0 },
      'one that begins before the last has ended': {
        sqls: ['BEGIN', 'UPDATE t SET n = 1', 'BEGIN', 'UPDATE t SET n = 2', 'COMMIT'],
        more: 1,
      },
    };
    for (const [name, { sqls, more }] of Object.entries(cases)) {
      // The first of each kind finds the connection as another has left it.
      for (const mode of ['report', 'exactly-once'] as const) await flights(stage, mode, sqls);
      const plain = await flights(stage, 'report', sqls);
      await flights(stage, 'exactly-once', sqls);
      assert.equal((await flights(stage, 'exactly-once', sqls)) - plain, more, name);
    }
  });
}

test('mysql: what two clusters of one Evenkeel are given are numbers without holes in each', async (t) => {
  const inFlight = 'exactly-once';
  const { server, clients } = await staged(t, 'mysql', [
    { name: 'here', cluster: 'one', inFlight },
    { name: 'there', cluster: 'other', inFlight },
  ]);
  const chosen = (): string[] =>
    server.connections
      .flatMap(({ commands }) => commands.map((command) => command.toString('latin1')))
      .flatMap((text) => /gtid_next='([^:']+:\d+)'/.exec(text)?.[1] ?? []);
  const by: string[][] = [];
  for (const name of ['here', 'there', 'here', 'there'] as const) {
    const before = new Set(chosen());
    await clients[name].query('INSERT INTO t VALUES (1)');
    by.push(chosen().filter((gtid) => !before.has(gtid)));
  }
  const [here = '', there = ''] = by.flat().map((gtid) => gtid.split(':')[0]);
  assert.notEqual(here, there);
  assert.deepEqual(by, [[`${here}:1`], [`${there}:1`], [`${here}:2`], [`${there}:2`]]);
});
