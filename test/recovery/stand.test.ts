// Whether the node that an unfinished recovery promoted still stands: what each node has, and what follows from it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Flavor } from '../../src/messages/index.ts';
import type { Look } from '../../src/recovery/look.ts';
import { standingOf } from '../../src/recovery/stand.ts';
import { factsOf } from '../support/facts.ts';

const A = '00000000-0000-0000-0000-00000000000a';
const B = '00000000-0000-0000-0000-00000000000b';

/** `received`: of a node that replicates. */
interface Has {
  gtids: string;
  received?: string;
  semiSync?: boolean;
}

function lookOf(flavor: Flavor, node: string, { gtids, received, semiSync = true }: Has): Look {
  const own = { sourceEnabled: semiSync, sourceActive: semiSync, replicaEnabled: true };
  const facts = factsOf(
    { gtids, received },
    { flavor, serverId: 1, identity: node, semiSync: { ...own, clients: 1, waitForCount: 1, timeoutMs: 1e9 } },
  );
  return { node, facts };
}

const AWAY = 'away' as const;

/** `a` is the old primary, `b` the promised node, `c` and `d` are the others. */
function stands(flavor: Flavor, nodes: Record<string, Has | typeof AWAY>): string {
  const looks = Object.entries(nodes).map(([node, has]): Look => {
    return has === AWAY ? { node, reach: { state: 'silent', error: '' } } : lookOf(flavor, node, has);
  });
  return standingOf({ from: 'a', to: 'b', looks }).stands;
}

interface Case {
  name: string;
  nodes: Record<string, Has | typeof AWAY>;
  expected: string;
}

/** In MySQL's words; MariaDB's are made of them. `A:n`: what a wrote up to n. */
const cases: Case[] = [
  {
    name: 'the promised node has all',
    nodes: { a: { gtids: 'A:9' }, b: { gtids: 'A:9,B:5' }, c: { gtids: 'A:9', received: '' } },
    expected: 'promised',
  },
  {
    name: 'the old one has more, which nobody else has, so nobody was told that it is safe',
    nodes: { a: { gtids: 'A:12' }, b: { gtids: 'A:9,B:5' }, c: { gtids: 'A:9', received: '' } },
    expected: 'promised',
  },
  {
    name: 'the old one has more, and another node has it, too; the promised one wrote nothing',
    nodes: { a: { gtids: 'A:12' }, b: { gtids: 'A:9' }, c: { gtids: 'A:11', received: '' } },
    expected: 'old',
  },
  {
    name: 'the same, in a relay log; what the promised one wrote is with nobody else',
    nodes: { a: { gtids: 'A:12' }, b: { gtids: 'A:9,B:5' }, c: { gtids: 'A:9', received: 'A:11' } },
    expected: 'old',
  },
  {
    name: 'the promised one did not wait for anybody',
    nodes: { a: { gtids: 'A:12' }, b: { gtids: 'A:9,B:5', semiSync: false }, c: { gtids: 'A:11', received: '' } },
    expected: 'nobody',
  },
  {
    name: 'both are followed',
    nodes: {
      a: { gtids: 'A:12' },
      b: { gtids: 'A:9,B:5' },
      c: { gtids: 'A:11', received: '' },
      d: { gtids: 'A:9', received: 'B:4' },
    },
    expected: 'nobody',
  },
  {
    name: 'who could tell does not answer',
    nodes: { a: { gtids: 'A:12' }, b: { gtids: 'A:9,B:5' }, c: AWAY },
    expected: 'nobody',
  },
  {
    name: 'who could tell does not answer, and the promised one wrote nothing',
    nodes: { a: { gtids: 'A:12' }, b: { gtids: 'A:9' }, c: AWAY },
    expected: 'old',
  },
  { name: 'the old one does not answer', nodes: { a: AWAY, b: { gtids: 'A:9' }, c: AWAY }, expected: 'promised' },
];

const WORDS: Record<Flavor, (who: string, upTo: string) => string> = {
  mysql: (who, upTo) => `${who === 'A' ? A : B}:1-${upTo}`,
  mariadb: (who, upTo) => `0-${who === 'A' ? 1 : 2}-${upTo}`,
};

for (const flavor of ['mysql', 'mariadb'] as const) {
  const said = (text: string) =>
    text.replaceAll(/([AB]):(\d+)/g, (_, who: string, upTo: string) => WORDS[flavor](who, upTo));
  for (const { expected, name, nodes } of cases) {
    test(`${flavor}: ${name}`, () => {
      const own = Object.entries(nodes).map(([node, has]): [string, Has | typeof AWAY] => {
        if (has === AWAY) return [node, has];
        const received = has.received === undefined ? {} : { received: said(has.received) };
        return [node, { ...has, gtids: said(has.gtids), ...received }];
      });
      assert.equal(stands(flavor, Object.fromEntries(own)), expected);
    });
  }
}
