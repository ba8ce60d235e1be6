// What servers tell of the statement before, and how they read odd texts: through Evenkeel, with strangers on the same server
// connections after each statement, it is what it is past it, or error 9106. Never anything else.
import assert from 'node:assert/strict';
import mysql, { type Connection } from 'mysql2/promise';
import { directly, type Evenkeel, stories, through } from './harness/index.ts';

interface Case {
  sqls: string[];
  /** Of several statements in one text. */
  several?: true;
  /** What is not known any more may be said to be. */
  mayBeLost?: true;
}

const BOTH: Record<string, Case> = {
  'rows found behind an offset': {
    sqls: ['SELECT n FROM five LIMIT 2 OFFSET 2', 'SET @z = 1', 'SELECT FOUND_ROWS()'],
    mayBeLost: true,
  },
  'rows found of a limit with two numbers': {
    sqls: ['SELECT n FROM five LIMIT 1, 1', 'SET @z = 1', 'SELECT FOUND_ROWS()'],
    mayBeLost: true,
  },
  'rows found of a union': {
    sqls: ['(SELECT n FROM five) UNION (SELECT n FROM five) LIMIT 1', 'SET @z = 1', 'SELECT FOUND_ROWS()'],
    mayBeLost: true,
  },
  'rows found behind an offset, at once': {
    sqls: ['BEGIN', 'SELECT n FROM five LIMIT 2 OFFSET 2', 'SELECT FOUND_ROWS()', 'COMMIT'],
  },
  'rows found beside a name like it': {
    sqls: ['SELECT n AS tz_offset FROM five', 'SET @z = 1', 'SELECT FOUND_ROWS()'],
  },
  'rows found of a limit': { sqls: ['SELECT n FROM five LIMIT 2', 'SET @z = 1', 'SELECT FOUND_ROWS()'] },
  'rows found into a variable': { sqls: ['SELECT n INTO @a FROM five LIMIT 1', 'SELECT FOUND_ROWS()'] },
  'the count of what went into a variable': {
    sqls: ['SELECT n INTO @a FROM five LIMIT 1', 'SET @k = ROW_COUNT()', 'SELECT @k'],
  },
  'a count behind a question for diagnostics': {
    sqls: ['INSERT INTO kept VALUES (1), (2)', 'DELETE FROM kept', 'GET DIAGNOSTICS @b = NUMBER', 'SELECT ROW_COUNT()'],
    mayBeLost: true,
  },
  'warnings that were shown among others': { sqls: ['SELECT 1/0; SHOW WARNINGS', 'SHOW WARNINGS'], several: true },
  'warnings behind a question': { sqls: ['SELECT n, 1/0 FROM five', 'SELECT LAST_INSERT_ID()', 'SHOW WARNINGS'] },
  'an error behind a question': { sqls: ['SELECT nothing FROM five', 'SELECT LAST_INSERT_ID()', 'SHOW WARNINGS'] },
  'counts of several statements': {
    sqls: ['INSERT INTO kept VALUES (1); SELECT 1; UPDATE kept SET n = 2 WHERE n = -1', 'SELECT FOUND_ROWS()'],
    several: true,
    mayBeLost: true,
  },
  'several statements of a client that may not send them': {
    sqls: [
      'BEGIN',
      'INSERT INTO kept VALUES (7)',
      'COMMIT; SELECT 1',
      'INSERT INTO kept VALUES (8)',
      'ROLLBACK',
      'SELECT n FROM kept',
    ],
  },
  'a definition among them': {
    sqls: [
      'BEGIN',
      'INSERT INTO kept VALUES (7)',
      'CREATE TABLE more (n INT); SELECT 1',
      'ROLLBACK',
      'SELECT n FROM kept',
    ],
  },
  'a beginning that is none': {
    sqls: [
      'BEGIN',
      'INSERT INTO kept VALUES (7)',
      'START TRANSACTION READ ONLY, READ WRITE',
      'ROLLBACK',
      'SELECT n FROM kept',
    ],
  },
  'an end that is none': {
    sqls: ['BEGIN', 'INSERT INTO kept VALUES (7)', 'COMMIT;; -- x', 'ROLLBACK', 'SELECT n FROM kept'],
  },
  'an end with semicolons': {
    sqls: ['BEGIN', 'INSERT INTO kept VALUES (7)', 'COMMIT ; ;', 'ROLLBACK', 'SELECT n FROM kept'],
  },
  'keys that are loaded into a cache': {
    sqls: ['BEGIN', 'INSERT INTO kept VALUES (7)', 'LOAD INDEX INTO CACHE five', 'ROLLBACK', 'SELECT n FROM kept'],
  },
  'an id that was set by a query': { sqls: ['SELECT LAST_INSERT_ID(42)', 'SELECT LAST_INSERT_ID()'] },
};

const MARIADB: Record<string, Case> = {
  'a count by its name in Oracle mode': {
    sqls: ["SET sql_mode = 'ORACLE'", 'INSERT INTO kept VALUES (1), (2), (3)', 'SELECT SQL%ROWCOUNT'],
    mayBeLost: true,
  },
  'a collation by its short name': {
    sqls: ['SET NAMES utf8mb4 COLLATE uca1400_ai_ci', 'SELECT n FROM five', 'SELECT @@collation_connection'],
  },
  'a block in Oracle mode': { sqls: ["SET sql_mode = 'ORACLE'", 'BEGIN'] },
  'a setting for one statement in a transaction': {
    sqls: [
      'BEGIN',
      'SELECT n FROM five',
      "SET STATEMENT sql_mode = '' FOR SELECT 1",
      'ROLLBACK',
      'SELECT n FROM five',
      'SELECT @@sql_mode',
    ],
  },
  'a setting for one statement among others': {
    sqls: ["SELECT 1; SET STATEMENT sql_mode = '' FOR SELECT 1", 'SELECT n FROM five', 'SELECT @@sql_mode'],
    several: true,
  },
  'a setting for one statement': {
    sqls: ["SET STATEMENT sql_mode = '' FOR SELECT 1", 'SELECT n FROM five', 'SELECT @@sql_mode'],
  },
  'the id of rows that come back': {
    sqls: [
      'INSERT INTO ids (x) VALUES (1)',
      'INSERT INTO ids (x) VALUES (2) RETURNING x',
      'INSERT INTO kept SELECT LAST_INSERT_ID() - MIN(id) FROM ids',
      'SELECT n FROM kept',
    ],
  },
  'the id of rows that come back, at once': {
    sqls: [
      'BEGIN',
      'INSERT INTO ids (x) VALUES (1)',
      'INSERT INTO ids (x) VALUES (2) RETURNING x',
      'SELECT LAST_INSERT_ID()',
      'COMMIT',
    ],
  },
  'the id beside rows that go': {
    sqls: ['INSERT INTO ids (x) VALUES (1)', 'DELETE FROM kept RETURNING n', 'SELECT LAST_INSERT_ID()'],
  },
  'the id beside rows that come with theirs': {
    sqls: ['INSERT INTO ids (x) VALUES (1)', 'INSERT INTO ids VALUES (77, 1) RETURNING x', 'SELECT LAST_INSERT_ID()'],
  },
  'warnings that an end among others keeps': {
    sqls: ['START TRANSACTION READ ONLY; SELECT 1/0; COMMIT', 'SHOW WARNINGS'],
    several: true,
  },
};

type Told = { rows: unknown } | { errno: number };

async function tell(client: Connection, sql: string): Promise<Told> {
  try {
    const [rows] = await client.query({ sql, rowsAsArray: true });
    const told = Array.isArray(rows)
      ? rows.map((row) => (Array.isArray(row) ? row : [row.affectedRows]))
      : rows.affectedRows;
    return { rows: told };
  } catch (error) {
    return { errno: (error as { errno: number }).errno };
  }
}

/** Each takes a server connection, and another of them stays with the first one's transaction. */
async function disturb(strangers: readonly Connection[]): Promise<void> {
  const [one, other] = strangers as [Connection, Connection];
  await one.query('BEGIN');
  await one.query('INSERT INTO strangers (x) VALUES (1)');
  await one.query("SELECT 'x' FROM five LIMIT 4");
  await other.query('INSERT INTO strangers (x) VALUES (1)');
  await other.query('SELECT COUNT(*) FROM five');
  await one.query('ROLLBACK');
}

async function told(
  evenkeel: Evenkeel,
  { sqls, several }: Case,
  past: boolean,
  strangers: Connection[],
): Promise<Told[]> {
  await through(evenkeel, 'DELETE FROM kept');
  await directly(evenkeel, await evenkeel.primary(), 'TRUNCATE app.ids');
  const { user, password, database } = evenkeel.sandbox.app;
  const login = past ? { ...evenkeel.direct(await evenkeel.primary()), user, password, database } : evenkeel.login();
  const client = await mysql.createConnection({ ...login, multipleStatements: several === true });
  const answers: Told[] = [];
  for (const sql of sqls) {
    answers.push(await tell(client, sql));
    if (!past) await disturb(strangers);
  }
  client.destroy();
  return answers;
}

stories(
  'beside a server itself',
  { replication: 'async', nodes: 1, workers: 1, config: 'pool: { maxPerNode: 3 }' },
  {
    'sessions that share connections are told the same': async (evenkeel) => {
      await through(
        evenkeel,
        'CREATE TABLE five (n INT PRIMARY KEY)',
        'INSERT INTO five VALUES (1), (2), (3), (4), (5)',
        'CREATE TABLE kept (n BIGINT)',
        'CREATE TABLE ids (id INT AUTO_INCREMENT PRIMARY KEY, x INT)',
        'CREATE TABLE strangers (id INT AUTO_INCREMENT PRIMARY KEY, x INT) AUTO_INCREMENT = 900',
      );
      const strangers = [
        await mysql.createConnection(evenkeel.login()),
        await mysql.createConnection(evenkeel.login()),
      ];
      const cases = evenkeel.sandbox.flavor === 'mariadb' ? { ...BOTH, ...MARIADB } : BOTH;
      for (const [name, each] of Object.entries(cases)) {
        const direct = await told(evenkeel, each, true, strangers);
        const proxied = await told(evenkeel, each, false, strangers);
        const last = proxied.at(-1);
        if (each.mayBeLost === true && last !== undefined && 'errno' in last && last.errno === 9106) {
          proxied.pop();
          direct.pop();
        }
        assert.deepEqual(proxied, direct, name);
      }
      for (const stranger of strangers) stranger.destroy();
    },
  },
);
