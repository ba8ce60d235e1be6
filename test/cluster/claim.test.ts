// Whose the cluster is, by the locks that the nodes tell of; two Evenkeels never both believe that it is theirs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimName, claimOf } from '../../src/cluster/claim.ts';
import type { ClusterView, NodeFacts } from '../../src/cluster/types.ts';

type Holder = 'a' | 'b' | 'down' | 'untold';

/** What Evenkeel `me` sees, where each node's lock is held by one of the two. */
function seenBy(me: 'a' | 'b', holders: Holder[]): string {
  const nodes = holders.map((holder, index) => {
    const claim = holder === 'untold' ? undefined : holder === me ? ('ours' as const) : { holder: 7 };
    const facts = { claim } as NodeFacts;
    const reach = holder === 'down' ? { state: 'refused' as const, error: '' } : { state: 'up' as const, rttMs: 1 };
    const node = `db${index}:3306`;
    return {
      node,
      role: 'replica' as const,
      state: 'ok' as const,
      detail: '',
      lagMs: 0,
      gtid: '',
      observation: { node, at: 0, reach, facts, factsAt: 0 },
    };
  });
  const view: ClusterView = { cluster: 'shop', flavor: 'mysql', primary: null, nodes, problems: [] };
  return claimOf(view).owner;
}

test('alone, or before anything is told, the cluster is ours', () => {
  assert.equal(seenBy('a', ['a', 'a', 'a']), 'us');
  assert.equal(seenBy('a', ['untold', 'untold']), 'us');
  assert.equal(seenBy('a', ['down']), 'us');
});

test('of two, exactly one has it, whoever holds what and whoever is down', () => {
  const kinds: Holder[] = ['a', 'b', 'down'];
  for (const one of kinds)
    for (const two of kinds)
      for (const three of kinds)
        for (const four of kinds) {
          const holders = [one, two, three, four];
          if (!holders.includes('a') && !holders.includes('b')) continue;
          const owners = (['a', 'b'] as const).filter((me) => seenBy(me, holders) === 'us');
          assert.equal(owners.length, 1, holders.join(' '));
        }
});

test('the other one is named by node and connection', () => {
  const nodes = seenBy('b', ['a', 'a']);
  assert.equal(nodes, 'other');
});

test('a name of any length is one that servers take', () => {
  assert.equal(claimName('x'.repeat(100)).length, 64);
});
