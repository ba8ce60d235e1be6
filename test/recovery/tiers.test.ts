// Who follows whom after a change of primary, as trees written in one line: `a<b<c` is c following b following a.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterView, NodeView } from '../../src/cluster/types.ts';
import { isDirect, tiersAfter } from '../../src/recovery/tiers.ts';

/** Names with a `!` do not answer. */
function cluster(...chains: string[]): ClusterView {
  const sources = new Map<string, string | null>();
  const silent = new Set<string>();
  for (const chain of chains) {
    let source: string | null = null;
    for (const word of chain.split('<')) {
      const name = `${word.replace('!', '')}:3306`;
      if (word.endsWith('!')) silent.add(name);
      if (source !== null || !sources.has(name)) sources.set(name, source);
      source = name;
    }
  }
  const nodes = [...sources].map(([node, source]): NodeView => {
    const replication =
      source === null ? null : { sourceHost: source.split(':')[0], sourcePort: 3306, sourceUuid: null };
    const reach = silent.has(node) ? { state: 'refused', error: 'x' } : { state: 'up', rttMs: 1 };
    return { node, observation: { node, reach, facts: { replication } } } as unknown as NodeView;
  });
  return { nodes } as unknown as ClusterView;
}

function after(view: ClusterView, from: string, to: string): string[] {
  const replicas = view.nodes.filter(({ observation }) => observation.facts?.replication !== null);
  const { direct, kept } = tiersAfter(
    view,
    replicas.map(({ node }) => node),
    `${from}:3306`,
    `${to}:3306`,
  );
  const short = (node: string): string => node.split(':')[0] ?? '';
  return [
    ...direct.map((node) => `${to}<${short(node)}`),
    ...kept.map(({ node, source }) => `${short(source)}<${short(node)} as before`),
  ];
}

const cases: [name: string, view: ClusterView, to: string, expected: string[]][] = [
  ['replicas of the primary follow the next one', cluster('a<b', 'a<c'), 'b', ['b<c']],
  ['a replica of a replica keeps its source', cluster('a<b', 'a<c<d'), 'b', ['b<c', 'c<d as before']],
  ['what followed the candidate goes on following it', cluster('a<b', 'a<c<d'), 'c', ['c<b', 'c<d as before']],
  ['a candidate of the second tier is followed by its own source', cluster('a<b', 'a<c<d'), 'd', ['d<b', 'd<c']],
  ['three tiers stay three', cluster('a<b', 'a<c<d<e'), 'b', ['b<c', 'c<d as before', 'd<e as before']],
  ['whose source is gone, too, follows the next primary', cluster('a<b', 'a<c!<d'), 'b', ['b<c', 'b<d']],
  ['a ring that leads nowhere is opened', cluster('a<b', 'c<d<c'), 'b', ['b<c', 'b<d']],
];

for (const [name, view, to, expected] of cases) {
  test(name, () => assert.deepEqual(after(view, 'a', to).toSorted(), expected.toSorted()));
}

test('a replica whose source is none of ours counts as one of the primary', () => {
  const view = cluster('a<b<c');
  assert.deepEqual(
    ['b:3306', 'c:3306'].map((node) => isDirect(view, node, 'a:3306')),
    [true, false],
  );
  assert.equal(isDirect(cluster('x<b'), 'b:3306', 'x:3306'), true);
});
