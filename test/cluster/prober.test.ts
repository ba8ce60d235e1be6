// What a probe asks, and when: a fake connection answers with whatever a node would.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ControlConnection, Row } from '../../src/cluster/connection.ts';
import { type ProbeRows, semiSync } from '../../src/cluster/dialect.ts';
import { Prober } from '../../src/cluster/prober.ts';

function proberOf(node: { readOnly: boolean; semiSync: boolean; asked: number }): Prober {
  const answer = (statement: string): Row[] => {
    if (statement.includes('VERSION()')) return [{ version: '8.4.0', now: '1000' }];
    if (statement.includes('@@global.gtid_executed')) return [{ read_only: node.readOnly ? '1' : '0' }];
    if (statement.includes("VARIABLES LIKE 'rpl"))
      return [{ name: 'rpl_semi_sync_source_enabled', value: node.semiSync ? 'ON' : 'OFF' }];
    return [];
  };
  const connection = {
    closed: null,
    greeting: null,
    queryAll: (sql: string): Promise<Row[][]> => {
      node.asked += 1;
      return Promise.resolve(sql.split(';').map(answer));
    },
  };
  return new Prober(connection as unknown as ControlConnection);
}

test('what changes slowly is asked again in the probe that sees a promotion or a demotion', async () => {
  const node = { readOnly: true, semiSync: false, asked: 0 };
  const prober = proberOf(node);
  const seen = async () => {
    const { readOnly, semiSync } = await prober.probe(false, 1_000);
    return [readOnly, semiSync?.sourceEnabled];
  };
  assert.deepEqual(await seen(), [true, false]);
  node.semiSync = true;
  assert.deepEqual(await seen(), [true, false], 'in a full probe only');
  const before = node.asked;
  node.readOnly = false;
  assert.deepEqual(await seen(), [false, true]);
  assert.equal(node.asked - before, 2);
  node.semiSync = false;
  assert.deepEqual(await seen(), [false, true]);
  node.readOnly = true;
  assert.deepEqual(await seen(), [true, false]);
});

const ENDING = 'Waiting to finalize termination';
const SENDING = 'Source has sent all binlog to replica; waiting for more updates';
const counts: [name: string, counted: number, threads: string[], live: number][] = [
  ['each once', 2, [SENDING, SENDING], 2],
  ['a replica that connected anew and is counted twice', 3, [ENDING, SENDING, SENDING], 2],
  ['both of them', 4, [ENDING, SENDING, ENDING, SENDING], 2],
  ['one that ended after it was counted', 2, [ENDING, SENDING], 1],
  ['one that is listed still and not counted any more', 2, [ENDING, SENDING, SENDING], 2],
  ['others that read the log and acknowledge nothing', 2, [ENDING, SENDING, SENDING, SENDING], 2],
  ['threads that we may not see', 3, [], 3],
  ['threads of which we may see one that ends', 3, [ENDING], 2],
];
for (const [name, counted, threads, live] of counts) {
  test(`replicas that acknowledge: ${name}`, () => {
    const rows: ProbeRows = {
      'semisync-variables': [{ name: 'rpl_semi_sync_source_enabled', value: 'ON' }],
      'semisync-status': [{ name: 'Rpl_semi_sync_source_clients', value: String(counted) }],
      'dump-threads': threads.map((STATE) => ({ HOST: '10.0.0.1:4711', STATE })),
    };
    assert.equal(semiSync(rows)?.clients, live);
  });
}
