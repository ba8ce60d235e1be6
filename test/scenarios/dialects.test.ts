// What some clients speak and others do not, and what therefore a server connection must speak alike: query attributes
// (MySQL), bulk execution and extended metadata (MariaDB).
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import mariadb, { type Connection, type ConnectionConfig } from 'mariadb';
import mysql from 'mysql2/promise';
import { findTool } from '../../src/sandbox/index.ts';
import { Capability, Command, commandPacket, queryPacket } from '../../src/wire/index.ts';
import { type Evenkeel, withEvenkeel } from './harness/index.ts';
import { RawClient } from './raw-client.ts';

const run = promisify(execFile);

interface Stage {
  t: test.TestContext;
  ek: Evenkeel;
  admin: mysql.Connection;
  ways: Record<'proxy' | 'server', Login>;
}

type Login = { host: string; port: number; user: string; password: string; database: string };
type Rows = mysql.RowDataPacket[];

async function staged(flavor: 'mysql' | 'mariadb', t: test.TestContext, work: (stage: Stage) => Promise<void>) {
  await withEvenkeel({ flavor, replication: 'async', nodes: 1, workers: 1 }, async (ek) => {
    const node = await ek.primary();
    const admin = await mysql.createConnection(ek.direct(node));
    await work({ t, ek, admin, ways: { proxy: ek.login(), server: { ...ek.login(), port: node.port } } });
    await admin.end();
  });
}

/** Every server connection of the application's is lost. */
async function cutServerConnections({ admin, ways }: Stage): Promise<void> {
  const sql = 'SELECT ID AS id FROM information_schema.processlist WHERE USER = ?';
  const [threads] = await admin.query<Rows>(sql, [ways.proxy.user]);
  for (const { id } of threads as { id: number }[]) await admin.query(`KILL ${id}`).catch(() => {});
}

test('query attributes in front of mysql', { timeout: 60_000 }, async (t) => {
  await staged('mysql', t, async (stage) => {
    await stage.admin.query("INSTALL COMPONENT 'file://component_query_attributes'");
    await attributesOfMysql2(stage);
    await attributesOfTheCommandLine(stage);
    await attributesPacketForPacket(stage);
  });
});

const VALUE = 'mysql_query_attribute_string';

async function attributesOfMysql2({ t, ways }: Stage): Promise<void> {
  const attributes = { text: 'zä "\'', number: 42, fraction: 1.5, none: null, yes: true, moment: new Date(86_400_000) };
  const asked = Object.keys(attributes).map((name) => `${VALUE}('${name}') AS ${name}`);
  await t.test('mysql2: values of every type reach the server, in both protocols', async () => {
    const answers: unknown[] = [];
    for (const way of [ways.proxy, ways.server]) {
      const client = await mysql.createConnection(way);
      const sql = `SELECT ${asked.join()}, ${VALUE}('other') AS other`;
      const [text] = await client.query<Rows>({ sql, attributes });
      const [binary] = await client.execute<Rows>({ sql: `${sql}, ? AS p`, attributes }, ['given']);
      const [without] = await client.query<Rows>(sql);
      assert.equal(text[0]?.['text'], attributes.text);
      assert.equal(binary[0]?.['number'], '42');
      assert.equal(without[0]?.['text'], null);
      answers.push([text, binary, without]);
      await client.end();
    }
    assert.deepEqual(answers[0], answers[1]);
  });
  await t.test('mysql2: a statement with attributes is understood as the same without', async () => {
    const [victim, other] = [await mysql.createConnection(ways.proxy), await mysql.createConnection(ways.proxy)];
    const query = (sql: string): Promise<unknown> => victim.query({ sql, attributes });
    await query("SET @a = 'kept', sql_mode = 'ANSI_QUOTES'");
    await query('BEGIN');
    const [[row]] = await victim.query<Rows>('SELECT CONNECTION_ID() AS id, @a AS "a"');
    assert.equal(row?.['a'], 'kept');
    await query('COMMIT');
    const closed = new Promise((resolve) => victim.once('error', resolve));
    await other.query({ sql: `KILL ${victim.threadId}`, attributes }); // the proxy's id, which no server knows
    await closed;
    await other.end();
  });
}

async function attributesOfTheCommandLine({ t, ways }: Stage): Promise<void> {
  await t.test('the command line of mysql: query_attributes', async () => {
    const { argv0, env } = await findTool('mysql');
    const [program = '', ...words] = argv0;
    const script = `query_attributes n1 v1 n2 v2\nSELECT ${VALUE}('n1'), ${VALUE}('n2'), 1 FROM DUAL;\nSELECT 2;\n`;
    const output = async (way: Login): Promise<string> => {
      const login = [`-h${way.host}`, `-P${way.port}`, `-u${way.user}`, `-p${way.password}`, '-N', way.database];
      const running = run(program, [...words, '--no-defaults', '--loose-commands', ...login], {
        env: { ...process.env, ...env },
      });
      running.child.stdin?.end(script);
      return (await running).stdout;
    };
    const through = await output(ways.proxy);
    assert.equal(through, 'v1\tv2\t1\n2\n');
    assert.equal(through, await output(ways.server));
  });
}

/** One attribute `n` of the value `v`, ahead of a text. */
const NAMED = Buffer.from([1, 1, 0, 1, 0xfd, 0, 1, 0x6e, 1, 0x76]);

function prepared(statementId: number, flags: number, tail: Buffer): Buffer {
  const head = Buffer.alloc(10);
  head[0] = Command.STMT_EXECUTE;
  head.writeUInt32LE(statementId, 1);
  head[5] = flags;
  head.writeUInt32LE(1, 6);
  return commandPacket(head[0], Buffer.concat([head.subarray(1), tail]));
}

async function attributesPacketForPacket(stage: Stage): Promise<void> {
  const { t, ways } = stage;
  const capabilities = Capability.QUERY_ATTRIBUTES | Capability.DEPRECATE_EOF;
  const login = (way: Login): Promise<RawClient> => RawClient.login(way, { capabilities });

  await t.test('a text behind attributes is answered as by the server, also on a new server connection', async () => {
    for (const way of [ways.proxy, ways.server]) {
      const raw = await login(way);
      for (let round = 0; round < 2; round++) {
        const text = Buffer.concat([NAMED, Buffer.from(`SELECT ${VALUE}('n'), 'seen'`)]);
        raw.write(commandPacket(Command.QUERY, text));
        const [result] = await raw.results();
        assert.deepEqual(RawClient.values(result?.rows[0] as Buffer), ['v', 'seen']);
        assert.equal(await raw.value("SELECT 'without'"), 'without');
        if (way === ways.proxy) await cutServerConnections(stage);
      }
      raw.close();
    }
  });

  await t.test('types with names are sent again on a new server connection', async () => {
    const raw = await login(ways.proxy);
    const answer = await raw.command(Command.STMT_PREPARE, `SELECT ?, ${VALUE}('n')`);
    const id = answer.readUInt32LE(1);
    const [columns, parameters] = [answer.readUInt16LE(5), answer.readUInt16LE(7)];
    for (let i = 0; i < columns + parameters; i++) await raw.packet();
    const execute = async (count: number, bound: boolean): Promise<string> => {
      const types = Buffer.from([0xfd, 0, 0, 0xfd, 0, 1, 0x6e]).subarray(0, count === 2 ? 7 : 3);
      const values = Buffer.from([2, 0x70, 0x71, 1, 0x76]).subarray(0, count === 2 ? 5 : 3);
      const bind = bound ? [Buffer.from([1]), types] : [Buffer.from([0])];
      raw.write(prepared(id, 0x08, Buffer.concat([Buffer.from([count, 0]), ...bind, values])));
      const [result] = await raw.results();
      return String(result?.rows[0]?.toString('latin1'));
    };
    const withAttribute = await execute(2, true);
    assert.ok(withAttribute.endsWith('\x02pq\x01v'), withAttribute);
    const without = await execute(1, false);
    assert.ok(without.endsWith('\x02pq'), without);
    await cutServerConnections(stage);
    assert.equal(await execute(1, false), without);
    assert.equal(await execute(2, true), withAttribute);
    await cutServerConnections(stage);
    assert.equal(await execute(2, true), withAttribute);
    raw.close();
  });

  await t.test('without the flag that says so, the parameter count is there all the same', async () => {
    for (const way of [ways.proxy, ways.server]) {
      const raw = await login(way);
      const answer = await raw.command(Command.STMT_PREPARE, 'SELECT ?');
      await raw.packet();
      await raw.packet();
      const tail = Buffer.from([1, 0, 1, 0xfd, 0, 0, 2, 0x70, 0x71]);
      raw.write(prepared(answer.readUInt32LE(1), 0, tail));
      const [result] = await raw.results();
      assert.ok(result?.rows[0]?.toString('latin1').endsWith('\x02pq'));
      raw.close();
    }
  });

  await t.test('attributes that are cut off end the connection with an error', async () => {
    for (const bytes of [
      [],
      [1],
      [1, 1, 0],
      [1, 1, 0, 1, 0xfd, 0, 9],
      [1, 1, 0, 0],
      [0xfe, 255, 255, 255, 255, 255, 255, 255, 255],
    ]) {
      const raw = await login(ways.proxy);
      raw.write(commandPacket(Command.QUERY, Buffer.from(bytes)));
      await assert.rejects(raw.results(), /malformed|Malformed/);
      raw.close();
    }
    const raw = await login(ways.proxy);
    raw.write(queryPacket('', capabilities));
    await assert.rejects(raw.results(), /empty/i);
    raw.close();
  });
}

test('extended capabilities in front of mariadb', { timeout: 60_000 }, async (t) => {
  await staged('mariadb', t, async (stage) => {
    await bulk(stage);
    await extendedMetadata(stage);
  });
});

const mariadbClient = (way: Login, options: ConnectionConfig = {}): Promise<Connection> =>
  mariadb.createConnection({ ...way, ...options });

async function bulk(stage: Stage): Promise<void> {
  const { t, ways, admin } = stage;
  const { database } = ways.proxy;
  await admin.query(
    `CREATE TABLE ${database}.bulk (id INT PRIMARY KEY AUTO_INCREMENT, a INT, b VARCHAR(200), c DOUBLE)`,
  );
  const rows = (count: number): unknown[][] =>
    Array.from({ length: count }, (_, i) => [i % 7 === 0 ? null : i, `ü${'b'.repeat(i % 150)}`, i + 0.25]);

  await t.test('a batch goes to the server in bulk, and does there what it does directly', async () => {
    const seen: unknown[] = [];
    for (const way of [ways.proxy, ways.server]) {
      await admin.query(`TRUNCATE TABLE ${database}.bulk`);
      const [[before]] = await admin.query<Rows>("SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'");
      const client = await mariadbClient(way, { bulk: true });
      const insert = 'INSERT INTO bulk (a, b, c) VALUES (?, ?, ?)';
      const answers = [];
      for (const count of [1, 3, 2000]) answers.push(await client.batch(insert, rows(count)));
      if (way === ways.proxy) await cutServerConnections(stage);
      answers.push(await client.batch(insert, rows(5)));
      await assert.rejects(
        client.batch('INSERT INTO bulk (id, a) VALUES (?, ?)', [
          [1, 1],
          [1, 2],
        ]),
        /Duplicate/,
      );
      const content = await client.query(
        'SELECT COUNT(*) AS n, SUM(a) AS a, MD5(GROUP_CONCAT(b)) AS b, SUM(c) AS c FROM bulk',
      );
      const [[after]] = await admin.query<Rows>("SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'");
      assert.ok(Number(after?.['Value']) - Number(before?.['Value']) < 100, 'one execution a row');
      seen.push(
        JSON.parse(JSON.stringify([answers, content], (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v))),
      );
      await client.end();
    }
    assert.deepEqual(seen[0], seen[1]);
  });
}

async function extendedMetadata({ t, ways, admin }: Stage): Promise<void> {
  const { database } = ways.proxy;
  await admin.query(`CREATE TABLE ${database}.meta (j JSON, u UUID, i INET6, p POINT, t TEXT)`);
  await admin.query(
    `INSERT INTO ${database}.meta VALUES ('{"a":[1,null]}', UUID(), '::1', POINT(1, 2), '{"not":"json"}'), (NULL, NULL, NULL, NULL, NULL)`,
  );
  await t.test('JSON, UUID and points come as such, in both protocols', async () => {
    const answers: unknown[] = [];
    for (const way of [ways.proxy, ways.server]) {
      const client = await mariadbClient(way, { autoJsonMap: true });
      const text = await client.query<Record<string, unknown>[]>('SELECT j, i, p, t, LENGTH(u) AS u FROM meta');
      const binary = await client.execute<Record<string, unknown>[]>('SELECT j, i, p, t FROM meta WHERE t LIKE ?', [
        '%json%',
      ]);
      assert.deepEqual(text[0]?.['j'], { a: [1, null] });
      assert.deepEqual(binary[0]?.['j'], { a: [1, null] });
      const meta = (text as unknown as { meta: { dataTypeFormat?: string; dataTypeName?: string }[] }).meta;
      answers.push([
        [...text],
        [...binary],
        meta.map(({ dataTypeFormat, dataTypeName }) => [dataTypeFormat, dataTypeName]),
      ]);
      await client.end();
    }
    assert.deepEqual(answers[0], answers[1]);
  });
  await t.test('clients without it share nothing with clients that have it', async () => {
    const [old, modern] = [await mysql.createConnection(ways.proxy), await mariadbClient(ways.proxy)];
    for (let i = 0; i < 3; i++) {
      const [rows] = await old.query<Rows>('SELECT t FROM meta WHERE t IS NOT NULL');
      assert.equal(rows[0]?.['t'], '{"not":"json"}');
      assert.deepEqual(
        [...(await modern.query<unknown[]>('SELECT j FROM meta WHERE j IS NOT NULL'))],
        [{ j: { a: [1, null] } }],
      );
    }
    await old.end();
    await modern.end();
  });
}
