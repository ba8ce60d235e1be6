// The audit must see what it is there to see: a lost row, a row that is there twice, a row that should not be there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { audit, ClientBook, type Doubt } from '../../src/drill/index.ts';
import fc from '../seed.ts';

/** A client whose writes were answered like this, in their order. */
function book(client: number, answers: readonly ('ok' | 'silence' | Doubt)[]): ClientBook {
  const result = new ClientBook(client);
  for (const answer of answers) {
    const n = result.next();
    if (answer === 'ok') result.acknowledged(n);
    else if (answer !== 'silence') result.refused(n, answer);
  }
  return result;
}

function found(...entries: [client: number, n: number, times: number][]): Map<number, Map<number, number>> {
  const result = new Map<number, Map<number, number>>();
  for (const [client, n, times] of entries) {
    result.set(client, (result.get(client) ?? new Map<number, number>()).set(n, times));
  }
  return result;
}

test('a run in which everything is there once is clean', () => {
  const result = audit([book(0, ['ok', 'ok']), book(1, ['ok'])], found([0, 1, 1], [0, 2, 1], [1, 1, 1]));
  assert.deepEqual(result, {
    acknowledged: 3,
    lost: 0,
    duplicated: 0,
    unexpected: 0,
    unknown: { executed: 0, notExecuted: 0 },
    examples: [],
  });
});

test('an acknowledged row that is not there is lost, and named', () => {
  const result = audit([book(0, ['ok', 'ok', 'ok'])], found([0, 1, 1], [0, 3, 1]));
  assert.equal(result.lost, 1);
  assert.equal(result.acknowledged, 3);
  assert.deepEqual(result.examples, ['write 2 of client 0 was acknowledged and is not there']);
});

test('all rows of a client may be lost', () => {
  assert.equal(audit([book(0, ['ok', 'ok'])], found()).lost, 2);
});

test('a row that is there twice is duplicated, also where its client was told nothing', () => {
  const result = audit([book(0, ['ok', 'unknown'])], found([0, 1, 2], [0, 2, 3]));
  assert.equal(result.duplicated, 2);
  assert.equal(result.lost, 0);
  assert.deepEqual(result.unknown, { executed: 1, notExecuted: 0 });
});

test('a row that was said not to be executed must not be there', () => {
  const result = audit([book(0, ['not executed', 'not executed'])], found([0, 2, 1]));
  assert.equal(result.unexpected, 1);
  assert.equal(result.acknowledged, 0);
});

test('a row that was said to be executed must be there', () => {
  assert.equal(audit([book(0, ['executed'])], found()).lost, 1);
});

test('a row that nobody sent is unexpected', () => {
  assert.equal(audit([book(0, ['ok'])], found([0, 1, 1], [0, 2, 1], [7, 1, 1])).unexpected, 2);
});

test('a write without any answer may be there or not', () => {
  const result = audit([book(0, ['silence', 'unknown', 'silence'])], found([0, 1, 1]));
  assert.deepEqual(result.unknown, { executed: 1, notExecuted: 2 });
  assert.equal(result.lost + result.duplicated + result.unexpected, 0);
});

test('examples are few, however much is wrong', () => {
  const result = audit(
    [
      book(
        0,
        Array.from({ length: 1000 }, () => 'ok' as const),
      ),
    ],
    found(),
  );
  assert.equal(result.lost, 1000);
  assert.equal(result.examples.length, 10);
});

test('whatever is taken away or doubled is counted, exactly', () => {
  const clients = fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 5 });
  const times = fc.infiniteStream(fc.integer({ min: 0, max: 3 }));
  fc.assert(
    fc.property(clients, times, (sizes, stream) => {
      const rows = new Map<number, Map<number, number>>();
      const expected = { lost: 0, duplicated: 0 };
      for (const [client, size] of sizes.entries()) {
        for (let n = 1; n <= size; n += 1) {
          const count = stream.next().value ?? 1;
          if (count === 0) expected.lost += 1;
          if (count > 1) expected.duplicated += 1;
          if (count > 0) rows.set(client, (rows.get(client) ?? new Map<number, number>()).set(n, count));
        }
      }
      const books = sizes.map((size, client) =>
        book(
          client,
          Array.from({ length: size }, () => 'ok' as const),
        ),
      );
      const { lost, duplicated, unexpected } = audit(books, rows);
      assert.deepEqual({ lost, duplicated, unexpected }, { ...expected, unexpected: 0 });
    }),
  );
});
