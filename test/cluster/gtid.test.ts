// GTID sets of both families: notation, set algebra, and the properties that recovery relies on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  contains,
  countGtids,
  formatGtidSet,
  formatPositionOf,
  GtidError,
  type GtidSet,
  gtidContains,
  gtidSubtract,
  isEmpty,
  parseGtidSet,
  parsePosition,
  reaches,
  subtract,
  union,
} from '../../src/cluster/gtid.ts';
import type { Flavor } from '../../src/messages/index.ts';
import fc from '../seed.ts';

const A = '2e97e809-e6b6-11f1-9fed-02fc00000001';
const B = '2ebdaeb0-e6b6-11f1-8aa8-02fc00000001';

test('a MySQL set is read as the server prints it, with several intervals, tags and line breaks', () => {
  const set = parseGtidSet('mysql', `${A}:1-5:7:tag_1:3-4:9,\n${B.toUpperCase()}:1`);
  assert.equal(formatGtidSet('mysql', set), `${A}:1-5:7,${A}:tag_1:3-4:9,${B}:1`);
  assert.equal(countGtids(set), 10);
});

test('intervals that overlap or touch become one', () => {
  assert.equal(formatGtidSet('mysql', parseGtidSet('mysql', `${A}:4-6:1-3,${A}:6-9`)), `${A}:1-9`);
});

test('the empty text is the empty set on both flavors', () => {
  for (const flavor of ['mysql', 'mariadb'] as const) {
    assert.ok(isEmpty(parseGtidSet(flavor, '')));
    assert.equal(formatGtidSet(flavor, parseGtidSet(flavor, ' \n')), '');
  }
});

test('what is no GTID is an error that says so', () => {
  const bad: [Flavor, string][] = [
    ['mysql', 'nonsense'],
    ['mysql', `${A}:1-2-3`],
    ['mysql', `${A}:0-5`],
    ['mysql', `${A}:99999999999999999999`],
    ['mysql', '0-1-5'],
    ['mariadb', '0-1'],
    ['mariadb', '0-1-2-3'],
    ['mariadb', `${A}:1`],
    ['mariadb', '-1-1-5'],
  ];
  for (const [flavor, text] of bad) assert.throws(() => parseGtidSet(flavor, text), GtidError, text);
});

test('an old MariaDB primary that wrote on after its successor took over has errant transactions', () => {
  const successor = '0-1-103,0-2-110';
  assert.equal(gtidSubtract('mariadb', '0-1-105', successor), '0-1-104..105');
  assert.equal(gtidSubtract('mariadb', '0-1-103', successor), '');
  assert.ok(!gtidContains('mariadb', successor, '0-1-105'));
});

test('a MariaDB position counts by domain, whichever server wrote it', () => {
  assert.ok(reaches(parsePosition('0-2-110,1-1-5'), parsePosition('0-1-105')));
  assert.ok(!reaches(parsePosition('0-2-110'), parsePosition('0-1-105,1-1-1')));
  assert.equal(formatPositionOf('0-1-103,0-2-110,7-1-1'), '0-2-110,7-1-1');
});

const interval = fc
  .tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 12 }))
  .map(([first, more]) => [first, first + more] as const);

function setOf(flavor: Flavor): fc.Arbitrary<GtidSet> {
  const key = flavor === 'mysql' ? fc.constantFrom(A, B, `${A}:t`) : fc.constantFrom('0-1', '0-2', '3-1');
  return fc.array(fc.tuple(key, interval), { maxLength: 12 }).map((parts) => {
    const text = parts.map(([name, [first, last]]) =>
      flavor === 'mysql' ? `${name}:${first}-${last}` : `${name}-${first}..${last}`,
    );
    return parseGtidSet(flavor, text.join(','));
  });
}

/** The slow, obvious model: every transaction by name. */
function members(set: GtidSet): Set<string> {
  const result = new Set<string>();
  for (const [key, intervals] of set) {
    for (const [first, last] of intervals) for (let n = first; n <= last; n++) result.add(`${key}/${n}`);
  }
  return result;
}

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`set operations on ${flavor} agree with sets of single transactions`, () => {
    fc.assert(
      fc.property(setOf(flavor), setOf(flavor), (a, b) => {
        const [inA, inB] = [members(a), members(b)];
        const onlyInA = new Set([...inA].filter((one) => !inB.has(one)));
        assert.deepEqual(members(union(a, b)), new Set([...inA, ...inB]));
        assert.deepEqual(members(subtract(a, b)), onlyInA);
        assert.equal(
          contains(a, b),
          [...inB].every((one) => inA.has(one)),
        );
        assert.equal(isEmpty(subtract(a, b)), onlyInA.size === 0);
        assert.equal(countGtids(a), inA.size);
      }),
    );
  });

  test(`a ${flavor} set that was written is read back the same`, () => {
    fc.assert(
      fc.property(setOf(flavor), (set) => {
        const text = formatGtidSet(flavor, set);
        assert.equal(formatGtidSet(flavor, parseGtidSet(flavor, text)), text);
        assert.deepEqual(members(parseGtidSet(flavor, text)), members(set));
      }),
    );
  });

  test(`any text is either a ${flavor} set or a GtidError`, () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'0123456789-:,.ab \n'.split('')), maxLength: 60 }), (text) => {
        try {
          parseGtidSet(flavor, text);
        } catch (error) {
          assert.ok(error instanceof GtidError);
        }
      }),
    );
  });
}
