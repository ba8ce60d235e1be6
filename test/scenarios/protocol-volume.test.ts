// Much of it: local files, packets beyond 16 MiB, and a result that is far larger than what the proxy may hold while its
// reader dawdles.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { promisify } from 'node:util';
import mariadb from 'mariadb';
import mysql from 'mysql2/promise';
import { findTool } from '../../src/sandbox/index.ts';
import { Capability, Command, commandPacket } from '../../src/wire/index.ts';
import { type Evenkeel, until, withEvenkeel } from './harness/index.ts';
import { RawClient } from './raw-client.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;

interface Stage {
  t: test.TestContext;
  ek: Evenkeel;
  client: mysql.Connection;
}

type Rows = mysql.RowDataPacket[];

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`volumes through the proxy in front of ${flavor}`, { timeout: 150_000 }, async (t) => {
    await withEvenkeel({ flavor, replication: 'async', nodes: 1, workers: 1 }, async (ek) => {
      const client = await mysql.createConnection({ ...ek.login(), flags: ['LOCAL_FILES'] });
      await client.query('CREATE TABLE loaded (n INT PRIMARY KEY, v VARCHAR(1000))');
      const stage: Stage = { t, ek, client };
      await largeResult(stage); // first, while little was allocated
      await files(stage);
      await largePackets(stage);
      await client.end();
    });
  });
}

const LOAD = "LOAD DATA LOCAL INFILE 'given' INTO TABLE loaded FIELDS TERMINATED BY ',' LINES TERMINATED BY '\\n'";

function* lines(count: number): Generator<string> {
  for (let i = 0; i < count; i++) yield `${i},${'v'.repeat(100)}\n`;
}

async function files({ t, ek, client }: Stage): Promise<void> {
  const load = (sql: string, text: Iterable<string>): Promise<[mysql.ResultSetHeader, unknown]> => {
    const infileStreamFactory = (): Readable => Readable.from(text, { objectMode: false });
    return client.query<mysql.ResultSetHeader>({ sql, infileStreamFactory });
  };
  const count = async (): Promise<unknown> =>
    (await client.query<Rows>('SELECT COUNT(*) AS n FROM loaded'))[0][0]?.['n'];

  await t.test('a local file is loaded by mysql2, many packets or none', async () => {
    const [result] = await load(LOAD, lines(50_000));
    assert.equal(result.affectedRows, 50_000);
    assert.equal(await count(), 50_000);
    const [empty] = await load(LOAD, ['']);
    assert.equal(empty.affectedRows, 0);
    await client.query('TRUNCATE loaded');
  });

  await t.test('an error before the file and one in its middle are told, and the connection goes on', async () => {
    await assert.rejects(load(LOAD.replace('TABLE loaded', 'TABLE there_is_none'), lines(10)), { errno: 1146 });
    assert.equal(await count(), 0);
    const stop = "IF NEW.n = 500 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no further'; END IF";
    const admin = await mysql.createConnection(ek.direct(await ek.primary()));
    await admin.query(
      `CREATE TRIGGER ${ek.sandbox.app.database}.stops BEFORE INSERT ON ${ek.sandbox.app.database}.loaded FOR EACH ROW ${stop}`,
    );
    for (const many of [1000, 50_000]) await assert.rejects(load(LOAD, lines(many)), /no further/);
    await admin.query(`DROP TRIGGER ${ek.sandbox.app.database}.stops`);
    await admin.end();
    assert.equal(await count(), 0);
  });

  await t.test('the mariadb driver and the command line load a file too', async () => {
    const file = join(ek.dir, 'load.csv');
    await writeFile(file, [...lines(20_000)].join(''));
    const sql = LOAD.replace('given', file);
    const driver = await mariadb.createConnection({
      ...ek.login(),
      permitLocalInfile: true,
      allowPublicKeyRetrieval: true,
    });
    assert.equal((await driver.query(sql)).affectedRows, 20_000);
    await driver.end();
    await client.query('TRUNCATE loaded');
    const tool = await findTool(ek.sandbox.flavor);
    const [program = '', ...first] = tool.argv0;
    const { port, user, password, database } = ek.login();
    const noTls = ek.sandbox.flavor === 'mysql' ? ['--get-server-public-key'] : [];
    const where = ['--no-defaults', '-h127.0.0.1', `-P${port}`, `-u${user}`, ...noTls, '--local-infile=1', database];
    const env = { ...process.env, ...tool.env, MYSQL_PWD: password };
    await run(program, [...first, ...where, '-e', sql], { env, timeout: 20_000 });
    assert.equal(await count(), 20_000);
    await client.query('TRUNCATE loaded');
  });
}

async function largePackets({ t, ek, client }: Stage): Promise<void> {
  await t.test('packets of 16 MiB and more, and of its very edges, go both ways', async () => {
    const raw = await RawClient.login(ek.login(), { capabilities: Capability.DEPRECATE_EOF });
    const head = "SELECT LENGTH('";
    for (const bytes of [0xffffff - 2, 0xffffff - 1, 0xffffff, 0xffffff + 1, 2 * 0xffffff, 40 * MIB]) {
      const text = `${head}${'x'.repeat(bytes - head.length - 1 - 2)}')`; // with the command's byte
      assert.equal(await raw.value(text), String(bytes - head.length - 3));
    }
    for (const bytes of [0xffffff - 4, 0xffffff - 1, 0xffffff, 40 * MIB]) {
      assert.equal((await raw.value(`SELECT REPEAT('y', ${bytes})`))?.length, bytes);
    }
    raw.close();
    const blob = Buffer.alloc(20 * MIB, 'blob');
    const [rows] = await client.execute<Rows>('SELECT ? AS b, LENGTH(?) AS h', [blob, 'x']);
    assert.ok(blob.equals(Buffer.from(rows[0]?.['b'] as Buffer)));
  });

  await t.test(
    'a packet larger than the server takes is refused by the server, and only that session ends',
    async () => {
      const other = await mysql.createConnection(ek.login());
      other.on('error', () => {});
      await assert.rejects(other.query(`SELECT LENGTH('${'x'.repeat(70 * MIB)}')`));
      other.destroy();
      assert.equal((await client.query<Rows>('SELECT 1 AS one'))[0][0]?.['one'], 1);
    },
  );
}

const ROW_BYTES = 1 * MIB;
const RESULT_ROWS = 200;

async function largeResult({ t, ek, client }: Stage): Promise<void> {
  await t.test('200 MiB for a slow reader pass through flat memory', async () => {
    await client.query('CREATE TABLE numbers (n INT PRIMARY KEY)');
    await client.query(`INSERT INTO numbers VALUES ${Array.from({ length: RESULT_ROWS }, (_, i) => `(${i})`).join()}`);
    const raw = await RawClient.login(ek.login());
    await raw.query('SELECT 1');
    const [pid = 0] = await ek.workerPids();
    const before = await residentBytes(pid);
    raw.socket.pause();
    raw.write(commandPacket(Command.QUERY, `SELECT n, REPEAT('z', ${ROW_BYTES}) FROM numbers ORDER BY n`));
    // The reader dawdles until everything on the way is full, and then reads in small bites.
    await until('the server to wait for the proxy', 20_000, async () => {
      const state =
        "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE state LIKE '%end%to client%' OR state LIKE 'Writing to net'";
      return Number((await client.query<Rows>(state))[0][0]?.['n']) > 0;
    });
    let peak = await residentBytes(pid);
    raw.socket.resume();
    let rows = 0;
    const bites = setInterval(() => {
      raw.socket.pause();
      setTimeout(() => raw.socket.resume(), 2);
    }, 10);
    assert.equal((await raw.answer())[0], 2);
    for (let i = 0; i < 3; i++) await raw.packet(); // two columns, EOF
    for (;;) {
      const { payload } = await raw.packet();
      if (payload[0] === 0xfe && payload.length === 5) break;
      assert.ok(payload.length > ROW_BYTES);
      if (++rows % 10 === 0) peak = Math.max(peak, await residentBytes(pid));
    }
    clearInterval(bites);
    assert.equal(rows, RESULT_ROWS);
    t.diagnostic(`resident: ${before} bytes before, ${peak} at most`);
    // Buffers that await collection are in it; all of the result is not.
    assert.ok(peak - before < 100 * MIB, `grew by ${peak - before} bytes`);
    raw.close();
  });
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}
