// What a process that starts makes of the recovery that the one before it did not end, and of a primary that came back
// while nobody else was promoted.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterView, NodeView } from '../../src/cluster/types.ts';
import { concludeUnfinished, forsakeUnfinished, type RecoveryRecord } from '../../src/recovery/index.ts';
import { UNFINISHED } from '../../src/recovery/journal.ts';
import { notToReinstate } from '../../src/recovery/rejoin.ts';
import { openEmbeddedStore } from '../../src/store/index.ts';
import { factsOf } from '../support/facts.ts';

function record(id: string, over: Partial<RecoveryRecord> = {}): RecoveryRecord {
  return {
    id,
    kind: 'failover',
    cluster: 'shop',
    from: 'a:1',
    to: 'b:1',
    epoch: 3,
    outcome: 'failed',
    reason: UNFINISHED,
    startedAt: '2026-11-24T00:00:00.000Z',
    durationMs: 0,
    longestStallMs: 0,
    clientErrors: 0,
    steps: [],
    ...over,
  };
}

/** What is concluded, and what the record then says. */
function concluded(primary: string, epoch: number, ...records: RecoveryRecord[]): [string | null, string | undefined] {
  const store = openEmbeddedStore(':memory:');
  for (const one of records) store.saveRecovery(one);
  const promised = concludeUnfinished(store, { cluster: 'shop', epoch, primary, nodes: [] });
  const outcome = store.recovery('r1')?.outcome;
  store.close();
  return [promised, outcome];
}

test('where the new primary was saved the recovery is done', () => {
  assert.deepEqual(concluded('b:1', 4, record('r1')), [null, 'done']);
});

test('where it was not, the node that was to be promoted is looked for', () => {
  assert.deepEqual(concluded('a:1', 3, record('r1')), ['b:1', 'failed']);
  assert.deepEqual(concluded('a:1', 3, record('r1'), record('r2', { kind: 'rejoin', to: 'c:1' })), ['b:1', 'failed']);
});

test('one that ended, or that another one followed, is left as it is', () => {
  assert.deepEqual(concluded('a:1', 3, record('r1', { reason: 'refused: nobody' })), [null, 'failed']);
  assert.deepEqual(concluded('c:1', 5, record('r1'), record('r2', { to: 'c:1', outcome: 'done', reason: 'x' })), [
    null,
    'failed',
  ]);
});

test('what could not be followed is looked for still, and what was given up is not', () => {
  const failed = record('r2', { kind: 'follow', reason: 'x; not followed: y' });
  assert.deepEqual(concluded('a:1', 3, record('r1'), failed), ['b:1', 'failed']);
  const store = openEmbeddedStore(':memory:');
  for (const one of [record('r1'), failed, record('r3', { kind: 'follow' })]) store.saveRecovery(one);
  const memory = { cluster: 'shop', epoch: 3, primary: 'a:1', nodes: [] };
  assert.equal(concludeUnfinished(store, memory), 'b:1');
  forsakeUnfinished(store, 'shop');
  assert.equal(concludeUnfinished(store, memory), null);
  store.close();
});

interface Seen {
  id: number;
  gtids: string;
  received?: string;
}

function nodeView(flavor: 'mysql' | 'mariadb', { gtids, id, received }: Seen): NodeView {
  const node = `${'abc'[id - 1] ?? ''}:1`;
  const facts = factsOf({ gtids, received }, { flavor, serverId: id, identity: uuid(id) });
  const observation = { node, at: 0, reach: { state: 'up' as const, rttMs: 1 }, facts, factsAt: 0 };
  return { node, role: 'replica', state: 'ok', detail: '', lagMs: 0, gtid: gtids, observation };
}

const uuid = (id: number) => `00000000-0000-0000-0000-00000000000${id}`;

/** Why a:1, which was last seen to have what it has now, is not made writable beside `other`; null where it is. */
function refusal(flavor: 'mysql' | 'mariadb', gtids: string, other: Seen, seen = true): string | null {
  const own = nodeView(flavor, { id: 1, gtids });
  const view: ClusterView = {
    cluster: 'shop',
    flavor,
    primary: 'a:1',
    nodes: [own, nodeView(flavor, other)],
    problems: [],
  };
  const { facts } = own.observation;
  return notToReinstate(view, 'a:1', seen && facts !== null ? { ...facts, readOnly: false } : null, 0);
}

test('a primary that came back is made writable beside nodes that have what a former primary wrote', () => {
  assert.equal(
    refusal('mysql', `${uuid(1)}:1-9`, { id: 3, gtids: `${uuid(1)}:1-5,${uuid(2)}:1-4`, received: '' }),
    null,
  );
  assert.equal(refusal('mariadb', '0-1-9', { id: 3, gtids: '0-1-5,0-2-20', received: '0-2-20' }), null);
});

test('it is not where they have what it wrote, and it has not', () => {
  const mysql = { id: 3, gtids: `${uuid(1)}:1-9`, received: `${uuid(1)}:1-10` };
  assert.match(refusal('mysql', `${uuid(1)}:1-9`, mysql) ?? '', /has transactions that a:1 lost/);
  assert.match(
    refusal('mariadb', '0-1-9', { id: 3, gtids: '0-1-9', received: '0-1-10' }) ?? '',
    /lost \(domain 0: 10\)/,
  );
});

test('where nobody saw it before, only what a node wrote itself is known not to be lost', () => {
  const others = { id: 3, gtids: `${uuid(1)}:1-5,${uuid(2)}:1-4`, received: '' };
  assert.match(refusal('mysql', `${uuid(1)}:1-9`, others, false) ?? '', /has transactions that a:1 lost/);
  assert.equal(refusal('mysql', `${uuid(1)}:1-9`, { id: 3, gtids: `${uuid(1)}:1-5,${uuid(3)}:1-4` }, false), null);
  assert.equal(refusal('mariadb', '0-1-9', { id: 3, gtids: '0-1-5,0-3-20' }, false), null);
});
