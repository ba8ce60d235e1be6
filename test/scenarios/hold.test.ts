// An operator's stories of the hold: it is bounded in time, number and bytes, says why, and everything that waited goes
// on in the end. The primary is made read-only by hand, which is no failure that Evenkeel would mend.
import assert from 'node:assert/strict';
import type { Connection } from 'mysql2/promise';
import { application, directly, type Evenkeel, stories, through, until } from './harness/index.ts';

const config = 'hold: { timeout: 2s, maxStatements: 4, maxBytes: 64KiB }';
const cluster = '    switchover: { drainTimeout: 100ms, maxLag: 500ms }';
const options = { replication: 'async', nodes: 2, workers: 1, config, cluster } as const;

/** The primary takes no writes while `work` runs, and `clients` know it. */
async function readOnly(evenkeel: Evenkeel, work: () => Promise<void>): Promise<void> {
  const primary = await evenkeel.primary();
  await directly(evenkeel, primary, 'SET GLOBAL read_only = 1');
  try {
    await until('the hold', 5000, async () => (await evenkeel.status()).clusters[0]?.state === 'holding');
    await work();
  } finally {
    await directly(evenkeel, primary, 'SET GLOBAL read_only = 0');
  }
}

async function clients<T>(evenkeel: Evenkeel, count: number, work: (all: Connection[]) => Promise<T>): Promise<T> {
  const all = await Promise.all(Array.from({ length: count }, () => application(evenkeel)));
  try {
    return await work(all);
  } finally {
    for (const connection of all) connection.destroy();
  }
}

const outcome = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: Error) => error.message,
  );

stories('the bounds of the hold', options, {
  'a statement that waits too long was not executed, and is told so with the reason': async (evenkeel) => {
    await through(evenkeel, 'CREATE TABLE waits (n INT PRIMARY KEY, text MEDIUMTEXT)');
    await clients(evenkeel, 1, async ([one]) => {
      assert.ok(one);
      await readOnly(evenkeel, async () => {
        await assert.rejects(one.query('INSERT INTO waits (n) VALUES (1)'), {
          errno: 9101,
          message: /read-only for 2\d\d\d ms \(Evenkeel: hold-timeout; not executed\)/,
        });
      });
      // The same connection, the same statement: it goes once the primary takes writes.
      await until(
        'service',
        5000,
        async () => (await outcome(one.query('INSERT INTO waits (n) VALUES (1)'))) === 'done',
      );
      const [rows] = await one.query('SELECT n FROM waits');
      assert.deepEqual(rows, [{ n: 1 }]);
    });
    await until('the hold to be counted', 5000, async () => {
      const metrics = await (await evenkeel.fetch('/metrics')).text();
      return /hold_started.*reason="read-only".* [1-9]/.test(metrics) && /hold_ended.*"timed-out".* 1$/m.test(metrics);
    });
  },

  'more statements than may wait are refused at once; those that wait go when the hold ends': async (evenkeel) => {
    await clients(evenkeel, 6, async (all) => {
      const asked: Promise<string>[] = [];
      await readOnly(evenkeel, async () => {
        for (const [n, one] of all.entries())
          asked.push(outcome(one.query('INSERT INTO waits (n) VALUES (?)', [10 + n])));
        const full = /hold\.maxStatements \(Evenkeel: hold-full; not executed\)/;
        await Promise.race(asked.slice(0, 5));
        const [held] = (await evenkeel.status()).endpoints;
        assert.ok((held?.held ?? 0) <= 4);
        assert.match(await Promise.any(asked), full);
      });
      const answers = await Promise.all(asked);
      assert.equal(answers.filter((answer) => answer === 'done').length, 4, answers.join('; '));
      assert.equal(answers.filter((answer) => /hold-full; not executed/.test(answer)).length, 2, answers.join('; '));
    });
  },

  'what waits may not be larger than the bound': async (evenkeel) => {
    await clients(evenkeel, 2, async (all) => {
      const asked: Promise<string>[] = [];
      await readOnly(evenkeel, async () => {
        const text = 'x'.repeat(40 * 1024);
        for (const [n, one] of all.entries()) {
          asked.push(outcome(one.query('INSERT INTO waits VALUES (?, ?)', [20 + n, text])));
        }
        assert.match(await Promise.any(asked), /hold\.maxBytes \(Evenkeel: hold-full; not executed\)/);
      });
      assert.deepEqual((await Promise.all(asked)).filter((answer) => answer === 'done').length, 1);
    });
  },

  'a client that leaves while it waits leaves nothing behind': async (evenkeel) => {
    await clients(evenkeel, 3, async (all) => {
      await readOnly(evenkeel, async () => {
        for (const [n, one] of all.entries()) void outcome(one.query('INSERT INTO waits (n) VALUES (?)', [30 + n]));
        await until('three to wait', 3000, async () => ((await evenkeel.status()).endpoints[0]?.held ?? 0) === 3);
        for (const one of all) one.destroy();
        await until('none to wait', 3000, async () => ((await evenkeel.status()).endpoints[0]?.held ?? 0) === 0);
      });
    });
    await evenkeel.healthy();
    const [rows] = await through(evenkeel, 'SELECT COUNT(*) AS count FROM waits WHERE n >= 30');
    assert.equal(rows[0]?.['count'], 0);
  },
});
