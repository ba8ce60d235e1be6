// The protocol as clients see it: what comes through the proxy is held, packet for packet where that can be, against
// what the server itself answers. Both families, drivers and a raw client with chosen capabilities.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { Capability, Command, commandPacket, parseErr, parseOk, ServerStatus } from '../../src/wire/index.ts';
import { parseSessionState } from '../../src/wire/session-state.ts';
import { type Evenkeel, succeeds, until, withEvenkeel } from './harness/index.ts';
import { RawClient, ServerSaid } from './raw-client.ts';

interface Stage {
  t: test.TestContext;
  ek: Evenkeel;
  through: mysql.Connection;
  direct: mysql.Connection;
  /** Login of the application, through the proxy and past it. */
  ways: { proxy: Login; server: Login };
}

type Login = { host: string; port: number; user: string; password: string; database: string };

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`the protocol in front of ${flavor}`, { timeout: 60_000 }, async (t) => {
    await withEvenkeel({ flavor, replication: 'async', nodes: 1, workers: 2 }, async (ek) => {
      const { port } = await ek.primary();
      const ways = { proxy: ek.login(), server: { ...ek.login(), port } };
      const options = { multipleStatements: true, supportBigNumbers: true, dateStrings: true };
      const through = await mysql.createConnection({ ...ways.proxy, ...options });
      const direct = await mysql.createConnection({ ...ways.server, ...options });
      const stage = { t, ek, through, direct, ways };
      await types(stage);
      await severalResults(stage);
      await packetForPacket(stage);
      await commands(stage);
      await kills(stage);
      await preparedStatements(stage);
      await through.end();
      await direct.end();
    });
  });
}

const COLUMNS = `id INT PRIMARY KEY, tiny TINYINT, small SMALLINT UNSIGNED, medium MEDIUMINT, big BIGINT UNSIGNED, f FLOAT,
  d DOUBLE, num DECIMAL(30,10), bits BIT(13), dt DATETIME(6), ts TIMESTAMP(3) NULL, da DATE, ti TIME(6), ye YEAR,
  c CHAR(10), vc VARCHAR(300), bin BINARY(4), vb VARBINARY(300), tx TEXT, bl LONGBLOB, en ENUM('a','ü'), se SET('x','y','z'),
  js LONGTEXT`;

const ROWS: unknown[][] = [
  [
    1,
    -128,
    65535,
    -8388608,
    '18446744073709551615',
    1.5,
    1e300,
    '12345678901234567890.0123456789',
    Buffer.from([0x1f, 0xff]),
    '2026-02-28 23:59:59.123456',
    '2026-02-28 23:59:59.123',
    '2026-02-28',
    '-838:59:58.999999',
    2026,
    'ch',
    'väärchar 日本 🎉',
    Buffer.from([0, 1, 2, 255]),
    Buffer.from('a\0b\\\'"'),
    'x'.repeat(300),
    Buffer.alloc(70_000, 7),
    'ü',
    'x,z',
    '{"a": [1, null]}',
  ],
  [2, ...Array.from({ length: 22 }, () => null)],
  [
    3,
    0,
    0,
    0,
    0,
    0,
    0,
    '0',
    Buffer.from([0]),
    '1000-01-01 00:00:00',
    null,
    '1000-01-01',
    '00:00:00',
    1901,
    '',
    '',
    Buffer.alloc(4),
    Buffer.alloc(0),
    '',
    Buffer.alloc(0),
    'a',
    '',
    '[]',
  ],
];

async function types({ t, through, direct }: Stage): Promise<void> {
  await t.test('every common type goes in and comes out in both protocols as at the server', async () => {
    await through.query(`CREATE TABLE types (${COLUMNS})`);
    const insert = `INSERT INTO types VALUES (${Array.from({ length: 23 }, () => '?').join(', ')})`;
    await through.execute(insert, ROWS[0] as mysql.ExecuteValues);
    await direct.execute(insert, ROWS[1] as mysql.ExecuteValues);
    await through.query(insert, ROWS[2]);
    const select = 'SELECT *, id + 0.5 AS calc, NULL AS nothing, ? AS given FROM types ORDER BY id';
    for (const given of ['text', 42, null, new Date(0), 1.25]) {
      assert.deepEqual(await plain(through.execute(select, [given])), await plain(direct.execute(select, [given])));
      assert.deepEqual(await plain(through.query(select, [given])), await plain(direct.query(select, [given])));
    }
    const [rows] = await through.query<mysql.RowDataPacket[]>('SELECT vc, big, bl FROM types WHERE id = 1');
    assert.equal(rows[0]?.['vc'], 'väärchar 日本 🎉');
    assert.equal(rows[0]?.['big'], '18446744073709551615');
    assert.ok((rows[0]?.['bl'] as Buffer | undefined)?.equals(Buffer.alloc(70_000, 7)));
  });
}

/** What a driver made of an answer, without what belongs to the driver. */
async function plain(answer: Promise<unknown>): Promise<unknown> {
  try {
    return JSON.parse(JSON.stringify(await answer, short)) as unknown;
  } catch (error) {
    const { errno, sqlState, message } = error as { errno?: number; sqlState?: string; message: string };
    return { errno, sqlState, message };
  }
}

/** Long values as their digest: a difference in them must be printable. */
function short(key: string, value: unknown): unknown {
  if (key.startsWith('_')) return undefined; // the driver's own
  const bytes =
    (value as { type?: string; data?: number[] } | null)?.type === 'Buffer' ? (value as { data: number[] }).data : null;
  const text = bytes === null ? value : Buffer.from(bytes).toString('hex');
  if (typeof text !== 'string' || text.length < 200) return text;
  return `${text.length} ${createHash('sha256').update(text).digest('hex')}`;
}

async function severalResults({ t, through, direct }: Stage): Promise<void> {
  await t.test('a text of several statements, a procedure with several results, and errors among them', async () => {
    await through.query(
      `CREATE PROCEDURE two(IN a INT, OUT b INT) BEGIN SELECT a; SELECT a+1, a+2 FROM types; SET b = a * 2; END`,
    );
    await through.query(
      `CREATE PROCEDURE fails() BEGIN SELECT 1; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no further'; END`,
    );
    await through.query('CREATE TABLE several (n INT PRIMARY KEY)');
    // Servers say that a cursor is open while the routine's is; its own SELECTs have rows, or none, all the same.
    await through.query(
      `CREATE PROCEDURE walks() BEGIN DECLARE one INT; DECLARE c CURSOR FOR SELECT id FROM types; OPEN c;
       SELECT id FROM types WHERE id > 100; FETCH c INTO one; SELECT one; SELECT id FROM types LIMIT 0; CLOSE c; END`,
    );
    for (const sql of [
      'CALL walks()',
      'SELECT 1; SELECT 2, 3; SELECT 4 FROM types WHERE id > 100',
      'SET @x = 1; SELECT @x; DO 1; SELECT @x + 1',
      'CALL two(20, @out); SELECT @out',
      'SELECT 1; SELECT * FROM there_is_none; SELECT 2',
      'CALL fails()',
      'SELECT 1; CALL fails(); SELECT 2',
      'SELEC 1',
      'SELECT 1; SELEC 2',
      'SELECT 1 / 0; SHOW WARNINGS',
      '',
      ';',
      'SELECT 1;;',
    ]) {
      assert.deepEqual(await plain(through.query(sql)), await plain(direct.query(sql)), sql);
    }
    const [results] = await through.query<mysql.RowDataPacket[][]>('CALL two(20, @out); SELECT @out AS twice');
    assert.deepEqual(JSON.parse(JSON.stringify(results.at(-1))), [{ twice: 40 }]);
    assert.deepEqual(
      await plain(through.execute('CALL two(?, @o)', [1])),
      await plain(direct.execute('CALL two(?, @o)', [1])),
    );
    assert.deepEqual(await plain(through.execute('CALL walks()')), await plain(direct.execute('CALL walks()')));
  });
}

const SHAPES: Record<string, number> = {
  'no DEPRECATE_EOF, no SESSION_TRACK': 0,
  'DEPRECATE_EOF only': Capability.DEPRECATE_EOF,
  'SESSION_TRACK only': Capability.SESSION_TRACK,
  both: Capability.DEPRECATE_EOF | Capability.SESSION_TRACK,
};

/** Every packet of an answer, ended by a pause in what was asked: COM_PING's answer marks it. */
async function packets(client: RawClient, request: Buffer): Promise<string[]> {
  client.write(request);
  client.write(commandPacket(Command.INIT_DB, 'marker that is no schema'));
  const seen: string[] = [];
  for (;;) {
    const { payload, sequence } = await client.packet();
    if (payload[0] === 0xff) {
      const err = parseErr(payload);
      if (/marker that is no schema/.test(err.message)) return seen;
    }
    seen.push(`${sequence}:${payload.toString('latin1')}`);
  }
}

async function packetForPacket({ t, ek, ways, direct }: Stage): Promise<void> {
  for (const [name, bits] of Object.entries(SHAPES)) {
    await t.test(`answers are the server's, packet for packet: ${name}`, async () => {
      await direct.query(
        'DROP TABLE IF EXISTS shaped; CREATE TABLE shaped (n INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(20))',
      );
      const capabilities = bits | Capability.MULTI_STATEMENTS;
      const proxy = await RawClient.login(ways.proxy, { capabilities });
      const server = await RawClient.login(ways.server, { capabilities });
      const { database } = ways.proxy;
      for (const sql of [
        'SELECT 1',
        'SELECT n, v FROM shaped WHERE n < 0',
        'INSERT INTO shaped VALUES (NULL, NULL)',
        "UPDATE shaped SET v = 'x' WHERE n > 1000000",
        'SELECT * FROM there_is_none',
        'SET NAMES latin1',
        'SET time_zone = "+05:00", @u = 1',
        'SET autocommit = 0',
        'BEGIN',
        'SELECT COUNT(*) > 0 FROM types',
        'ROLLBACK',
        'SET autocommit = 1',
        `USE ${database}`,
        'SELECT 1; SELECT 2; SET @v = 1; SELECT 3',
        // Before `walks` ends, an answer with no rows is told of with its cursor's flag.
        'CALL walks()',
        'SELECT 1 / 0',
        'DO 1',
        'CREATE TEMPORARY TABLE passing (n INT)',
        'DROP TEMPORARY TABLE passing',
      ]) {
        const request = commandPacket(Command.QUERY, sql);
        const [here, there] = [await packets(proxy, request), await packets(server, request)];
        if (sql.startsWith('INSERT')) {
          assert.equal(here.length, there.length); // the value of AUTO_INCREMENT differs
          continue;
        }
        const level = (packet: string): string => leveled(packet, capabilities);
        assert.deepEqual(here.map(level), there.map(level), `${ek.sandbox.flavor}: ${sql}`);
      }
      proxy.close();
      server.close();
    });
  }
}

/**
 * An EOF behind columns cannot say yet what follows the rows; its status is not compared. Of tracked session state,
 * what both families tell by default is compared; the order is a hash table's.
 */
function leveled(packet: string, capabilities: number): string {
  const at = packet.indexOf(':') + 1;
  const head = packet.slice(0, at);
  if (packet[at] === '\xfe' && packet.length - at === 5) return `${head}EOF`;
  const payload = Buffer.from(packet.slice(at), 'latin1');
  const isOk = payload[0] === 0 || (payload[0] === 0xfe && (capabilities & Capability.DEPRECATE_EOF) !== 0);
  if (!isOk || (capabilities & Capability.SESSION_TRACK) === 0 || payload.length < 7) return packet;
  const { affectedRows, insertId, status, warnings, info, sessionState } = parseOk(payload, capabilities);
  const changes = parseSessionState(sessionState).filter(({ kind }) => kind === 'variable' || kind === 'schema');
  const told = changes.map((change) => JSON.stringify(change)).toSorted();
  const flags = status & ~ServerStatus.SESSION_STATE_CHANGED;
  return [head, affectedRows, insertId, flags, warnings, info.toString(), ...told].join(' ');
}

async function commands({ t, ek, ways }: Stage): Promise<void> {
  const { database, user, password } = ways.proxy;
  await t.test('the commands of the protocol are answered as by the server', async () => {
    const proxy = await RawClient.login(ways.proxy);
    assert.equal((await proxy.command(Command.PING))[0], 0);
    assert.match((await proxy.command(Command.STATISTICS)).toString(), /^Uptime: \d+ +Threads: \d+/);
    await assert.rejects(proxy.query('SELECT 1; SELECT 2'), /1064/);
    assert.equal((await proxy.command(Command.SET_OPTION, Buffer.from([0, 0])))[0], 0xfe);
    assert.equal((await proxy.query('SELECT 1; SELECT 2')).length, 2);
    assert.equal((await proxy.command(Command.SET_OPTION, Buffer.from([1, 0])))[0], 0xfe);
    await assert.rejects(proxy.query('SELECT 1; SELECT 2'), /1064/);
    await proxy.query('CREATE DATABASE IF NOT EXISTS nowhere').catch(() => {});
    await assert.rejects(proxy.command(Command.INIT_DB, 'there_is_none'), (e) => e instanceof ServerSaid);
    assert.equal(await proxy.value('SELECT DATABASE()'), database);
    proxy.close();
  });

  await t.test('what is not passed is refused by name, and the connection goes on', async () => {
    const proxy = await RawClient.login(ways.proxy);
    const {
      BINLOG_DUMP,
      BINLOG_DUMP_GTID,
      REGISTER_REPLICA,
      TABLE_DUMP,
      SHUTDOWN,
      REFRESH,
      CREATE_DB,
      DROP_DB,
      CLONE,
    } = Command;
    const names = {
      BINLOG_DUMP,
      BINLOG_DUMP_GTID,
      REGISTER_REPLICA,
      TABLE_DUMP,
      SHUTDOWN,
      REFRESH,
      CREATE_DB,
      DROP_DB,
      CLONE,
    };
    for (const [name, command] of Object.entries(names)) {
      await assert.rejects(proxy.command(command, Buffer.alloc(20)), new RegExp(`1047 .*COM_${name}.*not executed`));
    }
    await assert.rejects(proxy.command(0xee), /1047 .*0xee/);
    assert.equal(await proxy.value('SELECT 5'), '5');
    proxy.close();
  });

  await t.test('COM_RESET_CONNECTION forgets the session, keeps the schema and the connection', async () => {
    const all =
      'SELECT CONCAT_WS(",", DATABASE(), @@sql_mode, @@autocommit, IFNULL(@u, "none"), @@character_set_client, @@time_zone)';
    const states: string[][] = [];
    for (const way of [ways.proxy, ways.server]) {
      const client = await RawClient.login(way);
      const before = await client.value(all);
      await client.query("SET @u = 1, sql_mode = 'ANSI', autocommit = 0, time_zone = '+03:00'");
      await client.query('CREATE TEMPORARY TABLE gone (n INT)');
      await client.query('INSERT INTO gone VALUES (1)');
      await client.command(Command.RESET_CONNECTION);
      await assert.rejects(client.query('SELECT * FROM gone'), /1146/);
      states.push([before ?? '', (await client.value(all)) ?? '']);
      client.close();
    }
    assert.deepEqual(states[0], states[1]);
  });

  await t.test('COM_CHANGE_USER makes another session of the connection, or ends it with the error', async () => {
    const admin = await mysql.createConnection({ ...ek.direct(await ek.primary()), multipleStatements: true });
    await admin.query(`CREATE USER other@'%' IDENTIFIED BY 'öther'; GRANT SELECT ON \`${database}\`.* TO other@'%'`);
    await admin.end();
    const seen: unknown[][] = [];
    for (const way of [ways.proxy, ways.server]) {
      const connection = await mysql.createConnection(way);
      connection.on('error', () => {});
      const state = (): Promise<unknown> =>
        plain(connection.query('SELECT CURRENT_USER() AS u, @u AS v, DATABASE() AS d'));
      await connection.query('SET @u = 1');
      await connection.query('BEGIN');
      const states = [await state()];
      await connection.changeUser({ user: 'other', password: 'öther' });
      states.push(await state());
      await connection.changeUser({ user, password, database });
      states.push(await state());
      await assert.rejects(connection.changeUser({ user: 'other', password: 'wrong' }), { errno: 1045 });
      seen.push(states);
      connection.destroy();
    }
    assert.deepEqual(seen[0], seen[1]);
  });
}

async function kills({ t, ek, ways }: Stage): Promise<void> {
  await t.test('whom a KILL ends learns of it as from a server, at work and at rest', async () => {
    const learnt = async (login: mysql.ConnectionOptions, sql: string | null): Promise<string[]> => {
      const [victim, killer] = [await mysql.createConnection(login), await mysql.createConnection(login)];
      const told: string[] = [];
      victim.on('error', ({ message }: Error) => told.push(message));
      const closed = new Promise<void>((resolve) => victim.on('end', resolve));
      const working = sql === null ? null : victim.query(sql).catch(({ message }: Error) => told.push(message));
      await pause(200);
      await killer.query(`KILL ${victim.threadId}`);
      await Promise.all([closed, working]);
      await pause(200); // mysql2 tells of the end before it tells why
      await killer.end();
      return told;
    };
    for (const sql of [null, 'SELECT SLEEP(20)']) {
      assert.deepEqual(await learnt(ways.proxy, sql), await learnt(ways.server, sql), sql ?? 'at rest');
    }
  });

  await t.test('KILL and KILL QUERY reach a session by the id that its client was greeted with', async () => {
    const victim = await mysql.createConnection(ways.proxy);
    victim.on('error', () => {});
    const killer = await mysql.createConnection(ways.proxy);
    const running = async (): Promise<boolean> => {
      const [rows] = await killer.query<mysql.RowDataPacket[]>('SHOW PROCESSLIST');
      return rows.some((row) => String(row['Info']).startsWith('SELECT SLEEP(30'));
    };
    for (const how of ['query', 'execute'] as const) {
      const sleeping = plain(victim.query('SELECT SLEEP(30.5) AS s'));
      await until('the statement to run', 5000, running);
      const kill = `KILL QUERY ${victim.threadId}`;
      await (how === 'query' ? killer.query(kill) : killer.execute(kill));
      const outcome = JSON.stringify(await sleeping); // SLEEP itself answers 1 on MySQL, an error on MariaDB
      assert.match(outcome, ek.sandbox.flavor === 'mysql' ? /"s":1/ : /1317/);
      assert.match(JSON.stringify(await plain(victim.query('SELECT 1 AS one'))), /"one":1/);
    }
    const sleeping = plain(victim.query('SELECT SLEEP(30.5) AS s'));
    await until('the statement to run', 5000, running);
    await killer.query(`KILL ${victim.threadId}`);
    assert.match(JSON.stringify(await sleeping), /closed|killed|1927|1317|LOST/i);
    await until('the statement to end at the server', 5000, async () => !(await running()));
    await assert.rejects(victim.query('SELECT 1'));
    await assert.rejects(killer.query(`KILL ${2 ** 30 + 4_000_000}`), { errno: 1094 });
    await assert.rejects(killer.query('KILL 999999999'), { errno: 1094 });
    await killer.end();
  });

  await t.test('a session that kills itself is told what the server tells', async () => {
    const told = async (way: mysql.ConnectionOptions, text: (id: number) => string): Promise<unknown> => {
      const client = await mysql.createConnection(way);
      client.on('error', () => {});
      const killed = await client.query(text(client.threadId)).catch(({ errno, sqlState }) => ({ errno, sqlState }));
      const goesOn = await succeeds(client.query('SELECT 1'));
      client.destroy();
      return { killed, goesOn };
    };
    for (const how of ['KILL', 'KILL QUERY']) {
      for (const whom of [(id: number) => String(id), () => 'CONNECTION_ID()']) {
        const text = (id: number): string => `${how} ${whom(id)}`;
        assert.deepEqual(await told(ways.proxy, text), await told(ways.server, text), text(0));
      }
    }
  });

  await t.test('another account cannot kill', async () => {
    const victim = await mysql.createConnection(ways.proxy);
    const killer = await mysql.createConnection({ ...ways.proxy, user: 'other', password: 'öther' });
    for (let round = 0; round < 4; round++) {
      const outcome = await plain(killer.query(`KILL ${victim.threadId}`));
      assert.equal((outcome as { errno?: number }).errno, 1095);
    }
    assert.match(JSON.stringify(await plain(victim.query('SELECT 1 AS one'))), /"one":1/);
    victim.destroy();
    killer.destroy();
  });
}

const INT = 0x03;
const DOUBLE = 0x05;
const BLOB = 0xfc;
const STRING = 0xfe;

/** COM_STMT_EXECUTE's argument. Null values are for nulls, undefined ones for long data. */
function execute(id: number, types: number[] | null, values: (Buffer | null | undefined)[], flags = 0): Buffer {
  const nulls = Buffer.alloc((values.length + 7) >> 3);
  for (const [i, value] of values.entries()) if (value === null) nulls[i >> 3] = (nulls[i >> 3] ?? 0) | (1 << (i & 7));
  const head = Buffer.alloc(9);
  head.writeUInt32LE(id, 0);
  head[4] = flags;
  head.writeUInt32LE(1, 5);
  if (values.length === 0) return head;
  const bound = types === null ? Buffer.from([0]) : Buffer.from([1, ...types.flatMap((type) => [type, 0])]);
  return Buffer.concat([head, nulls, bound, ...values.filter((value): value is Buffer => value instanceof Buffer)]);
}

const int = (n: number): Buffer => {
  const value = Buffer.alloc(4);
  value.writeInt32LE(n);
  return value;
};
const double = (n: number): Buffer => {
  const value = Buffer.alloc(8);
  value.writeDoubleLE(n);
  return value;
};
const string = (text: string): Buffer => Buffer.concat([Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)]);
const le = (id: number, ...more: Buffer[]): Buffer => {
  const value = Buffer.alloc(4);
  value.writeUInt32LE(id);
  return Buffer.concat([value, ...more]);
};

interface Prepared {
  id: number;
  columns: number;
  parameters: number;
}

async function prepare(client: RawClient, sql: string): Promise<Prepared> {
  const head = await client.command(Command.STMT_PREPARE, sql);
  const prepared = { id: head.readUInt32LE(1), columns: head.readUInt16LE(5), parameters: head.readUInt16LE(7) };
  const eof = (client.capabilities & Capability.DEPRECATE_EOF) === 0 ? 1 : 0;
  for (const count of [prepared.parameters, prepared.columns]) {
    for (let i = 0; i < (count === 0 ? 0 : count + eof); i++) await client.packet();
  }
  return prepared;
}

/** Rows of an execution, as text. */
async function executed(client: RawClient, argument: Buffer): Promise<string[]> {
  client.write(commandPacket(Command.STMT_EXECUTE, argument));
  return (await client.results()).flatMap((result) => result.rows.map((row) => row.toString('latin1')));
}

async function preparedStatements({ t, ways }: Stage): Promise<void> {
  for (const capabilities of [0, Capability.DEPRECATE_EOF | Capability.SESSION_TRACK]) {
    const shape = capabilities === 0 ? 'old' : 'new';
    await t.test(`prepared statements live as at the server (${shape} result sets)`, async () => {
      const answers: string[][] = [];
      for (const way of [ways.proxy, ways.server]) {
        const client = await RawClient.login(way, { capabilities });
        const seen: string[] = [];
        answers.push(seen);
        const note = async (what: Promise<unknown>): Promise<void> => {
          const value = await what.catch((error: unknown) =>
            error instanceof ServerSaid ? `error ${error.err.errno}` : Promise.reject(error),
          );
          seen.push(value instanceof Buffer ? value.toString('latin1') : JSON.stringify(value));
        };
        const { id, ...shapeOf } = await prepare(client, 'SELECT ? AS a, HEX(?) AS b');
        seen.push(JSON.stringify(shapeOf));
        await note(executed(client, execute(id, [INT, STRING], [int(5), string('ab')])));
        await note(executed(client, execute(id, null, [int(6), string('cd')])));
        await note(executed(client, execute(id, [DOUBLE, STRING], [double(0.5), null])));
        await note(executed(client, execute(id, null, [double(1.5), string('')])));
        // Long data, in pieces; then a reset drops what was sent.
        client.write(commandPacket(Command.STMT_SEND_LONG_DATA, le(id, Buffer.from([1, 0]), Buffer.from('long '))));
        client.write(
          commandPacket(Command.STMT_SEND_LONG_DATA, le(id, Buffer.from([1, 0]), Buffer.alloc(100_000, 0x61))),
        );
        await note(
          executed(client, execute(id, [INT, BLOB], [int(7), undefined])).then(([row]) => [
            row?.length,
            row?.slice(-9),
          ]),
        );
        await note(executed(client, execute(id, [INT, STRING], [int(7), string('then short')])));
        client.write(commandPacket(Command.STMT_SEND_LONG_DATA, le(id, Buffer.from([1, 0]), Buffer.from('dropped'))));
        await note(client.command(Command.STMT_RESET, le(id)).then((ok) => ok.length > 0));
        await note(executed(client, execute(id, [INT, STRING], [int(8), string('kept')])));
        // Two at once, one closed.
        const second = await prepare(client, 'SELECT 1 UNION SELECT 2 UNION SELECT 3');
        await note(executed(client, execute(second.id, null, [])));
        client.write(commandPacket(Command.STMT_CLOSE, le(id)));
        await note(executed(client, execute(id, null, [int(1), string('x')])));
        await note(client.command(Command.STMT_RESET, le(id)));
        await note(cursor(client, second.id));
        await note(executed(client, execute(second.id, null, [])));
        await note(prepare(client, 'SELECT * FROM there_is_none'));
        await note(prepare(client, 'INSERT INTO several VALUES (?)').then(({ id: _id, ...rest }) => rest));
        client.close();
      }
      assert.deepEqual(answers[0], answers[1]);
    });
  }

  await t.test('a driver re-uses, closes and re-makes hundreds of statements', async () => {
    const connection = await mysql.createConnection({ ...ways.proxy, maxPreparedStatements: 50 });
    for (let i = 0; i < 300; i++) {
      const [rows] = await connection.execute<mysql.RowDataPacket[]>(`SELECT ? + ${i % 120} AS n`, [i]);
      assert.equal(Number(rows[0]?.['n']), i + (i % 120));
    }
    await connection.end();
  });
}

/** Opens a cursor, and fetches a row at a time. */
async function cursor(client: RawClient, id: number): Promise<string[]> {
  const seen: string[] = [];
  client.write(commandPacket(Command.STMT_EXECUTE, execute(id, null, [], 1)));
  const columns = (await client.answer())[0] as number;
  for (let i = 0; i < columns; i++) await client.packet();
  const end = await client.answer(); // EOF, or OK in its place
  seen.push(`${end[0]}`);
  for (let i = 0; i < 10; i++) {
    client.write(commandPacket(Command.STMT_FETCH, le(id, int(1))));
    const rows: Buffer[] = [];
    const { status } = await client.rows(rows);
    seen.push(`${rows.map((row) => row.toString('latin1')).join()} ${status & ServerStatus.LAST_ROW_SENT}`);
    if ((status & ServerStatus.LAST_ROW_SENT) !== 0) break;
  }
  return seen;
}
