// Compression between clients and Evenkeel: real clients of both families, each compared with the same client past the
// proxy; and streams that end, lie or are cut.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import mariadb from 'mariadb';
import mysql from 'mysql2/promise';
import { findTool, type ToolName } from '../../src/sandbox/index.ts';
import { Capability, Command, CompressedStream, commandPacket, parseErr } from '../../src/wire/index.ts';
import { type Evenkeel, until, withEvenkeel } from './harness/index.ts';
import { RawClient } from './raw-client.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const TEXT = 'compressible, mostly. ';

interface Stage {
  t: test.TestContext;
  ek: Evenkeel;
  flavor: 'mysql' | 'mariadb';
  /** Logins through the proxy and past it. */
  ways: Record<'proxy' | 'server', Login>;
}

type Login = { host: string; port: number; user: string; password: string; database: string };
type Rows = mysql.RowDataPacket[];

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`compressed clients in front of ${flavor}`, { timeout: 150_000 }, async (t) => {
    await withEvenkeel({ flavor, replication: 'async', nodes: 1, workers: 1 }, async (ek) => {
      const { port } = await ek.primary();
      const admin = await mysql.createConnection(ek.direct(await ek.primary()));
      await admin.query('SET GLOBAL max_allowed_packet = 67108864');
      await admin.query('SET GLOBAL local_infile = ON');
      const stage: Stage = { t, ek, flavor, ways: { proxy: ek.login(), server: { ...ek.login(), port } } };
      await admin.query(`CREATE TABLE ${ek.login().database}.loaded (n INT PRIMARY KEY, v VARCHAR(1000))`);
      await drivers(stage);
      await commandLine(stage);
      await changeUser(stage);
      await brokenStreams(stage);
      await lostServer(stage, admin);
      await admin.end();
    });
  });
}

const digest = (value: string | Buffer): string => createHash('sha256').update(value).digest('hex');

/** What one client gets, small and large, text and binary; and how many bytes it took. */
interface Run {
  answers: unknown[];
  bytes: number;
}

async function viaMysql2(login: Login): Promise<Run> {
  const client = await mysql.createConnection({ ...login, compress: true, multipleStatements: true });
  try {
    const answers: unknown[] = [];
    const ask = async (sql: string, values?: unknown[]): Promise<void> =>
      void answers.push((await client.query<Rows>(sql, values))[0]);
    await ask('SELECT 1 AS one');
    await ask("SELECT REPEAT('a', 49) AS a, REPEAT('b', 50) AS b, NULL AS c");
    await ask("DO 1; SELECT 2; SELECT REPEAT('x', 70000)");
    answers.push(await client.query('SELECT nothing').catch((error: Error) => error.message));
    answers.push((await client.execute<Rows>('SELECT ? AS p, REPEAT(?, 100000) AS q', ['äö', TEXT]))[0]);
    for (const bytes of [70_000, MIB, 17 * MIB]) {
      const text = TEXT.repeat(bytes / TEXT.length);
      const [rows] = await client.query<Rows>('SELECT SHA2(?, 256) AS sent, ? AS back', [text, text]);
      answers.push([rows[0]?.['sent'], digest(String(rows[0]?.['back']))]);
    }
    const random = Buffer.from(Array.from({ length: MIB }, (_, i) => (i * i * 2654435761) >>> 13));
    const [back] = await client.query<Rows>('SELECT ? AS back', [random]);
    answers.push(digest(back[0]?.['back'] as Buffer));
    const { stream } = (client as unknown as { connection: { stream: { bytesRead: number } } }).connection;
    return { answers, bytes: stream.bytesRead };
  } finally {
    client.destroy();
  }
}

async function viaMariadb(login: Login): Promise<Run> {
  const client = await mariadb.createConnection({ ...login, compress: true, allowPublicKeyRetrieval: true });
  try {
    const answers: unknown[] = [];
    answers.push([...(await client.query<unknown[]>('SELECT 1 AS one'))]);
    answers.push([...(await client.execute<unknown[]>('SELECT ? AS p, REPEAT(?, 100000) AS q', ['äö', TEXT]))]);
    // Sent ahead of one another's answers.
    const many = Array.from({ length: 50 }, (_, i) =>
      client.query<unknown[]>(`SELECT ${i} AS i, REPEAT('y', ${i * 100})`),
    );
    for (const rows of await Promise.all(many)) answers.push([...rows]);
    const text = TEXT.repeat((17 * MIB) / TEXT.length);
    const [row] = await client.query<{ sent: string; back: string }[]>('SELECT SHA2(?, 256) AS sent, ? AS back', [
      text,
      text,
    ]);
    answers.push([row?.sent, digest(row?.back ?? '')]);
    return { answers, bytes: 0 };
  } finally {
    await client.end();
  }
}

/** Some hundred lines a piece. */
function* lines(count: number): Generator<string> {
  for (let at = 0; at < count; at += 500) {
    const piece = Array.from({ length: Math.min(500, count - at) }, (_, i) => `${at + i},${'v'.repeat(100)}\n`);
    yield piece.join('');
  }
}

async function drivers({ t, ways }: Stage): Promise<void> {
  await t.test('mysql2 gets what it gets from the server, in as few bytes', async () => {
    const [proxy, server] = [await viaMysql2(ways.proxy), await viaMysql2(ways.server)];
    assert.deepEqual(proxy.answers, server.answers);
    assert.ok(proxy.bytes < 5 * MIB, `${proxy.bytes} bytes for 19 MiB, ${server.bytes} from the server`);
  });
  await t.test('mariadb gets what it gets from the server, commands sent ahead included', async () => {
    assert.deepEqual((await viaMariadb(ways.proxy)).answers, (await viaMariadb(ways.server)).answers);
  });
  await t.test('a local file is loaded from a compressed stream, also behind other results', async () => {
    const flags = ['LOCAL_FILES'];
    const client = await mysql.createConnection({ ...ways.proxy, flags, compress: true, multipleStatements: true });
    const load = "LOAD DATA LOCAL INFILE 'given' INTO TABLE loaded FIELDS TERMINATED BY ',' LINES TERMINATED BY '\\n'";
    const file = (count: number): Readable => Readable.from(lines(count), { objectMode: false });
    for (const [sql, count] of [
      [load, 50_000],
      [`SELECT 1; SELECT 2; ${load}`, 1000],
      [load, 0],
    ] as const) {
      await client.query('TRUNCATE TABLE loaded');
      await client.query({ sql, infileStreamFactory: () => file(count) });
      const [rows] = await client.query<Rows>('SELECT COUNT(*) AS n, SUM(LENGTH(v)) AS s FROM loaded');
      assert.equal(rows[0]?.['n'], count);
    }
    await client.end();
  });
}

async function commandLine({ t, ek, flavor, ways }: Stage): Promise<void> {
  const tools: [string, ToolName, string[]][] = [['mariadb, zlib', 'mariadb', ['--compress', '--skip-ssl']]];
  if (flavor === 'mysql') {
    tools.push(['mysql, zlib', 'mysql', ['--compression-algorithms=zlib']]);
    tools.push(['mysql, zstd', 'mysql', ['--compression-algorithms=zstd', '--zstd-compression-level=7']]);
  }
  const csv = join(ek.dir, 'loaded.csv');
  await writeFile(csv, Array.from({ length: 20_000 }, (_, i) => `${i},${'w'.repeat(200)}\n`).join(''));
  const text = TEXT.repeat((20 * MIB) / TEXT.length);
  const script = `SELECT 1; SELECT REPEAT('z', 200000), SHA2('${text}', 256); TRUNCATE TABLE loaded;
    LOAD DATA LOCAL INFILE '${csv}' INTO TABLE loaded FIELDS TERMINATED BY ',';
    SELECT COUNT(*), SUM(LENGTH(v)) FROM loaded; SELECT * FROM loaded WHERE n % 7 = 0 ORDER BY n;\n`;
  for (const [name, toolName, options] of tools) {
    await t.test(`the command line of ${name}, with its large text, its large result and its file`, async () => {
      const tool = await findTool(toolName);
      const [program = '', ...words] = tool.argv0;
      const output = async (way: Login): Promise<string> => {
        const login = [`-h${way.host}`, `-P${way.port}`, `-u${way.user}`, `-p${way.password}`, way.database];
        const more = ['--local-infile=1', '--max-allowed-packet=64M'];
        const running = run(program, [...words, '--no-defaults', ...options, ...more, ...login], {
          env: { ...process.env, ...tool.env },
          maxBuffer: 64 * MIB,
          timeout: 30_000,
        });
        running.child.stdin?.end(script);
        return (await running).stdout;
      };
      const through = await output(ways.proxy);
      assert.ok(through.includes('20000\t4000000'), through.slice(-200));
      assert.equal(digest(through), digest(await output(ways.server)));
    });
  }
}

async function changeUser({ t, ek, ways }: Stage): Promise<void> {
  await t.test('COM_CHANGE_USER goes on compressed', async () => {
    const client = await mysql.createConnection({ ...ek.login(), compress: true });
    await client.query("SET @a = REPEAT('a', 1000)");
    await client.changeUser({ user: ways.proxy.user, password: ways.proxy.password, database: ways.proxy.database });
    const [rows] = await client.query<Rows>("SELECT @a AS a, REPEAT('b', 1000) AS b");
    assert.deepEqual(rows, [{ a: null, b: 'b'.repeat(1000) }]);
    await client.end();
  });
}

const QUERY = commandPacket(Command.QUERY, `SELECT '${TEXT.repeat(10)}'`);

function compressedFrame(sequence: number, body: Buffer, fullBytes: number): Buffer {
  const header = Buffer.alloc(7);
  header.writeUIntLE(body.length, 0, 3);
  header[3] = sequence;
  header.writeUIntLE(fullBytes, 4, 3);
  return Buffer.concat([header, body]);
}

async function brokenStreams({ t, ek, ways }: Stage): Promise<void> {
  const packed = zlib.deflateSync(QUERY);
  const bomb = zlib.deflateSync(Buffer.alloc(16 * MIB - 1));
  const cases: [string, Buffer, number][] = [
    ['a frame that shrinks', compressedFrame(0, packed, QUERY.length + 1), 1835],
    ['a frame that grows', compressedFrame(0, packed, QUERY.length - 1), 1835],
    ['a bomb under a false length', compressedFrame(0, bomb, 1000), 1835],
    ['no compressed bytes at all', compressedFrame(0, Buffer.alloc(100, 7), 500), 1835],
    ['a number out of order', compressedFrame(3, packed, QUERY.length), 1156],
  ];
  for (const [name, bytes, errno] of cases) {
    await t.test(`${name} ends the connection with an error, and no other`, async () => {
      const other = await mysql.createConnection({ ...ek.login(), compress: true });
      const raw = await RawClient.login(ways.proxy, { capabilities: Capability.COMPRESS });
      const chunks: Buffer[] = [];
      raw.socket.removeAllListeners('data');
      raw.socket.on('data', (chunk: Buffer) => chunks.push(chunk));
      const ended = new Promise((resolve) => raw.socket.once('close', resolve));
      raw.socket.write(bytes);
      await ended;
      const stream = new CompressedStream({ algorithm: 'zlib', level: 1, maxBytes: MIB });
      const answer = Buffer.concat(chunks);
      answer[3] = 0; // whatever its number
      stream.push(answer);
      const packet = stream.next(() => {});
      assert.equal(parseErr((packet as Buffer).subarray(4)).errno, errno);
      await other.query('SELECT 1');
      await other.end();
    });
  }
  await t.test('a client that is cut off within a frame leaves nothing behind', async () => {
    const raw = await RawClient.login(ways.proxy, { capabilities: Capability.COMPRESS });
    raw.socket.write(compressedFrame(0, packed, QUERY.length).subarray(0, 20));
    raw.socket.destroy();
    await until('the client to be gone', 5000, async () => {
      return (await ek.status()).endpoints.every(({ clients }) => clients === 0);
    });
  });
}

async function lostServer({ t, ways }: Stage, admin: mysql.Connection): Promise<void> {
  await t.test(
    'a server that is lost within a large result is told, or ends the connection, and no client waits',
    async () => {
      const client = await mysql.createConnection({ ...ways.proxy, compress: true });
      await admin.query(`TRUNCATE TABLE ${ways.proxy.database}.loaded`);
      const values = Array.from({ length: 300 }, (_, i) => `(${i}, '')`).join();
      await client.query(`INSERT INTO loaded VALUES ${values}`);
      const sql = "SELECT /* lost within */ a.n, REPEAT('r', 500) FROM loaded a JOIN loaded b JOIN loaded c";
      let rows = 0;
      const cut = new Promise<Error>((resolve, reject) => {
        const query = (
          client as unknown as { connection: { query(sql: string): NodeJS.EventEmitter } }
        ).connection.query(sql);
        query.on('result', () => rows++);
        query.on('error', resolve);
        // Cut within a row, which no error can follow.
        client.on('error', resolve);
        query.on('end', () => reject(new Error(`the result ended after ${rows} rows`)));
      });
      await until('the first rows', 20_000, () => rows > 1000);
      const [threads] = await admin.query<Rows>(
        "SELECT ID AS id FROM information_schema.processlist WHERE INFO LIKE 'SELECT /* lost within */%'",
      );
      for (const { id } of threads as { id: number }[]) await admin.query(`KILL ${id}`);
      const error = await cut;
      assert.match(error.message, /Evenkeel|interrupted|lost|killed|closed/i);
      client.destroy();
    },
  );
}
