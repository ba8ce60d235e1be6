// Clients that sit idle after a statement that failed or warned hold a server connection only as long as nobody else
// needs it. What they may still ask for is read before it goes; what cannot be kept is answered with an error.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { withSandbox } from '../../src/sandbox/index.ts';
import { Capability } from '../../src/wire/index.ts';
import { application, directly, type Evenkeel, inFrontOf, through, until } from './harness/index.ts';
import { RawClient, ServerSaid } from './raw-client.ts';

const CONNECTIONS = 4;
const IDLE = 20;
const options = {
  replication: 'async',
  nodes: 1,
  workers: 1,
  recovery: 'observe',
  cluster: '    switchover: { drainTimeout: 100ms, maxLag: 500ms }',
  inFlight: 'report', // else a write that failed leaves its warnings with the session at once
  config: `pool: { maxPerNode: ${CONNECTIONS} }\nhold: { timeout: 4s }`,
} as const;

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor}: idle clients give way to those who wait`, { timeout: 120_000 }, async (t) => {
    await withSandbox({ flavor, replication: 'async', nodes: 1 }, (sandbox) =>
      inFrontOf(sandbox, options, async (ek) => {
        await through(ek, 'CREATE TABLE some (n INT PRIMARY KEY)', 'INSERT INTO some VALUES (1), (2), (3)');
        await t.test('any number of clients may fail a statement and sit idle', () => manyIdle(ek));
        await t.test('what a statement that could not be prepared left is there', () => notPrepared(ek));
        await t.test('what others ask of the statement before is an error, told once', () => otherQuestions(ek));
        await t.test('FOUND_ROWS() is kept', () => counts(ek));
        await t.test('the kept answer has the form that the client speaks', () => forms(ek));
        await t.test('pins and transactions are not given up', () => pins(ek));
        await t.test('warnings that are lost with their server connection are not told as none', () => lost(ek));
      }),
    );
  });
}

async function clients(ek: Evenkeel, count: number, work: (all: Connection[]) => Promise<void>): Promise<void> {
  const all: Connection[] = [];
  try {
    for (let n = 0; n < count; n++) all.push(await application(ek));
    await work(all);
  } finally {
    for (const client of all) client.destroy();
  }
}

/** Takes every server connection for itself for a moment, which it gets only if all idle clients give way. */
async function needAll(ek: Evenkeel): Promise<void> {
  await clients(ek, CONNECTIONS, async (all) => {
    await Promise.all(
      all.map(async (client) => {
        await client.query('BEGIN');
        await client.query('SELECT COUNT(*) FROM some');
      }),
    );
    for (const client of all) await client.query('COMMIT');
  });
}

async function gaveWay(ek: Evenkeel): Promise<number> {
  const text = await (await ek.fetch('/metrics')).text();
  let sum = 0;
  for (const [, value] of text.matchAll(/^evenkeel_gave_way_total\{.*\} (\d+)$/gm)) sum += Number(value);
  return sum;
}

/** Fails a statement of its own, and does nothing more. */
async function failIdly(client: Connection, name: string): Promise<void> {
  await assert.rejects(client.query(`UPDATE some SET n = ${name}`), { errno: 1054, message: new RegExp(name) });
}

async function manyIdle(ek: Evenkeel): Promise<void> {
  await clients(ek, IDLE, async (all) => {
    await Promise.all(all.map((client, n) => failIdly(client, `missing_${n}`)));
    await needAll(ek);
    for (const [n, client] of all.entries()) {
      for (let twice = 0; twice < 2; twice++) {
        const [rows] = await client.query<RowDataPacket[]>('SHOW WARNINGS');
        assert.equal(rows.length, 1);
        assert.equal(rows[0]?.['Code'], 1054);
        assert.match(String(rows[0]?.['Message']), new RegExp(`missing_${n}'`));
      }
    }
    // A statement later there are none.
    for (const client of all) {
      await client.query('SELECT COUNT(*) FROM some');
      assert.deepEqual((await client.query('SHOW WARNINGS'))[0], []);
    }
    await until('it to be counted', 3000, async () => (await gaveWay(ek)) >= IDLE - CONNECTIONS);
  });
}

async function notPrepared(ek: Evenkeel): Promise<void> {
  await clients(ek, IDLE, async (all) => {
    for (const [n, client] of all.entries()) {
      await assert.rejects(client.prepare(`SELECT missing_${n} FROM some`), { errno: 1054 });
      // Its connection is everybody's.
      await through(ek, 'SELECT n FROM some', 'SELECT 2');
    }
    for (const [n, client] of all.entries()) {
      for (let twice = 0; twice < 2; twice++) {
        const [rows] = await client.query<RowDataPacket[]>('SHOW WARNINGS');
        assert.match(String(rows[0]?.['Message']), new RegExp(`missing_${n}'`));
      }
    }
    // One that can be prepared meanwhile has no warnings, and nobody has the statement.
    const [first] = all;
    assert.ok(first !== undefined);
    await assert.rejects(first.prepare('SELECT n FROM another'), { errno: 1146 });
    await through(ek, 'CREATE TABLE another (n INT)', 'SELECT 1');
    assert.deepEqual((await first.query('SHOW WARNINGS'))[0], []);
    await through(ek, 'DROP TABLE another');
  });
}

async function otherQuestions(ek: Evenkeel): Promise<void> {
  const questions = ['SHOW COUNT(*) WARNINGS', 'SELECT @@warning_count', 'SHOW ERRORS', 'GET DIAGNOSTICS @n = NUMBER'];
  await clients(ek, questions.length, async (all) => {
    for (const client of all) await failIdly(client, 'missing');
    await needAll(ek);
    for (const [n, client] of all.entries()) {
      await assert.rejects(client.query(questions[n] as string), {
        errno: 9106,
        message: /the warnings of the statement before.* \(Evenkeel: state-lost; not executed\)/,
      });
      assert.deepEqual((await client.query('SELECT n FROM some WHERE n = 2'))[0], [{ n: 2 }]);
      await client.query(questions[n] as string);
    }
  });
}

async function counts(ek: Evenkeel): Promise<void> {
  await clients(ek, CONNECTIONS, async (all) => {
    for (const client of all) {
      const [rows] = await client.query('SELECT SQL_CALC_FOUND_ROWS n FROM some ORDER BY n LIMIT 1');
      assert.deepEqual(rows, [{ n: 1 }]);
    }
    await needAll(ek);
    for (const client of all) {
      assert.deepEqual((await client.query('SELECT FOUND_ROWS() AS found'))[0], [{ found: 3 }]);
      await client.query('SELECT n FROM some LIMIT 2');
      assert.deepEqual((await client.query('SELECT FOUND_ROWS() AS found'))[0], [{ found: 2 }]);
    }
  });
}

/** Packet by packet, with the end of columns that some clients want and others do not. */
async function forms(ek: Evenkeel): Promise<void> {
  for (const capabilities of [0, Capability.DEPRECATE_EOF, Capability.DEPRECATE_EOF | Capability.SESSION_TRACK]) {
    const answers: unknown[] = [];
    for (const give of [false, true]) {
      const client = await RawClient.login(ek.login(), { capabilities });
      try {
        await assert.rejects(client.query('UPDATE some SET n = missing'), ServerSaid);
        if (give) await needAll(ek);
        answers.push(await client.query('SHOW WARNINGS'));
        assert.equal((await client.query('SELECT n FROM some')).length, 1);
      } finally {
        client.close();
      }
    }
    assert.deepEqual(answers[1], answers[0]);
  }
}

async function pins(ek: Evenkeel): Promise<void> {
  await clients(ek, 2, async ([temporary, transaction]) => {
    assert.ok(temporary !== undefined && transaction !== undefined);
    await temporary.query('CREATE TEMPORARY TABLE mine (n INT)');
    await transaction.query('BEGIN');
    await transaction.query('INSERT INTO some VALUES (77)');
    for (const client of [temporary, transaction]) await failIdly(client, 'missing');
    await assert.rejects(needAll(ek), { errno: 9103 });
    await temporary.query('SELECT * FROM mine');
    assert.deepEqual((await transaction.query('SELECT COUNT(*) AS many FROM some'))[0], [{ many: 4 }]);
    await transaction.query('ROLLBACK');
  });
}

async function lost(ek: Evenkeel): Promise<void> {
  await clients(ek, 1, async ([client]) => {
    assert.ok(client !== undefined);
    await failIdly(client, 'missing');
    const node = await ek.primary();
    const theirs = "SELECT id FROM information_schema.processlist WHERE user = 'app'";
    const connections = async (): Promise<number[]> => {
      const [rows] = await directly(ek, node, theirs);
      return rows.map((row) => Number(Object.values(row)[0]));
    };
    const killed = await connections();
    assert.ok(killed.length > 0);
    await directly(ek, node, ...killed.map((id) => `KILL ${id}`));
    // Others may have been opened meanwhile.
    const gone = async (): Promise<boolean> => (await connections()).every((id) => !killed.includes(id));
    await until('them to be gone', 5000, gone);
    await assert.rejects(client.query('SHOW WARNINGS'), {
      errno: 9106,
      message: /the warnings of the statement before/,
    });
    assert.deepEqual((await client.query('SHOW WARNINGS'))[0], []);
  });
}
