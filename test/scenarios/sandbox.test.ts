// The sandbox itself, against real servers of both flavors: it comes up replicating, a killed node comes back
// read-only, and nothing is left of it afterwards.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import mysql from 'mysql2/promise';
import {
  findTool,
  killNode,
  type SandboxInfo,
  type SandboxNode,
  sandboxStatus,
  startNode,
  startSandbox,
  stopSandbox,
  withSandbox,
} from '../../src/sandbox/index.ts';

type Account = { user: string; password: string; database?: string };

async function ask(node: Pick<SandboxNode, 'port'>, account: Account, sql: string): Promise<Record<string, unknown>[]> {
  const { user, password, database } = account;
  const target = { host: '127.0.0.1', port: node.port, user, password, connectTimeout: 5_000 };
  const connection = await mysql.createConnection(database === undefined ? target : { ...target, database });
  try {
    const [rows] = await connection.query({ sql, timeout: 20_000 });
    return Array.isArray(rows) ? (rows as Record<string, unknown>[]) : [];
  } finally {
    connection.destroy();
  }
}

/** Asks until the answer is as wanted; the last answer or error is in the failure. */
async function eventually(what: string, look: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 20_000;
  let last: unknown = 'never as wanted';
  for (;;) {
    try {
      if (await look()) return;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) throw new Error(`${what}: ${String(last)}`, { cause: last });
    await delay(20);
  }
}

function node(sandbox: SandboxInfo, name: string): SandboxNode {
  const found = sandbox.nodes.find((candidate) => candidate.name === name);
  assert.ok(found, `${name} is in the sandbox`);
  return found;
}

/** Processes whose command line names the directory. */
async function processesOf(dir: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid);
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines.filter((line) => line.includes(`${dir}/`));
}

for (const flavor of ['mariadb', 'mysql'] as const) {
  for (const replication of ['async', 'semisync'] as const) {
    describe(`${flavor}, ${replication}`, { concurrency: false }, () => {
      test('three nodes replicate, and a killed primary comes back read-only', { timeout: 120_000 }, async () => {
        let dir = '';
        await withSandbox({ flavor, replication, nodes: 3 }, async (sandbox) => {
          dir = sandbox.dir;
          assert.deepEqual(
            sandbox.nodes.map(({ name, role }) => `${name} ${role}`),
            ['node1 primary', 'node2 replica', 'node3 replica'],
          );
          assert.equal((await stat(join(dir, 'sandbox.json'))).mode & 0o777, 0o600);
          const [first, second, third] = ['node1', 'node2', 'node3'].map((name) => node(sandbox, name));
          assert.ok(first && second && third);
          await ask(first, sandbox.app, 'CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB');
          await ask(first, sandbox.app, 'INSERT INTO t VALUES (1)');
          for (const replica of [second, third]) {
            await eventually(`${replica.name} has the row`, async () => {
              return (await ask(replica, sandbox.app, 'SELECT id FROM t')).length === 1;
            });
            await assert.rejects(ask(replica, sandbox.app, 'INSERT INTO t VALUES (2)'), { errno: 1290 });
          }
          await waitsForAcknowledgement(sandbox, first, replication === 'semisync');

          await killNode(dir, 'node1', 'SIGKILL');
          const down = (await sandboxStatus(dir)).nodes.find(({ name }) => name === 'node1');
          assert.deepEqual([down?.state, down?.pid, down?.role], ['down', null, null]);
          const pid = await startNode(dir, 'node1');
          const back = (await sandboxStatus(dir)).nodes.find(({ name }) => name === 'node1');
          assert.deepEqual([back?.state, back?.pid, back?.role, back?.port], ['up', pid, 'replica', first.port]);
          await assert.rejects(ask(first, sandbox.app, 'INSERT INTO t VALUES (3)'), { errno: 1290 });
          // A crashed semi-sync MariaDB drops what only its binary log holds, acknowledged or not: it comes back as a
          // replica that has yet to be told whom to follow, and may be behind those that followed it.
          if (flavor === 'mysql' || replication === 'async') {
            assert.equal((await ask(first, sandbox.app, 'SELECT id FROM t')).length, 1);
            await eventually('node2 follows again', () => follows(sandbox, second));
          }
          assert.equal((await ask(second, sandbox.app, 'SELECT id FROM t')).length, 1);
        });
        assert.equal(existsSync(dir), false);
        assert.deepEqual(await processesOf(dir), []);
      });
    });
  }

  describe(flavor, { concurrency: false }, () => {
    test("the flavor's own client is found and logs in", { timeout: 120_000 }, async () => {
      await withSandbox({ flavor, replication: 'async', nodes: 1 }, async (sandbox) => {
        const [program = '', ...args] = (await findTool(flavor)).argv0;
        const { user, password, database } = sandbox.app;
        const login = ['--no-defaults', '-h127.0.0.1', `-P${node(sandbox, 'node1').port}`, `-u${user}`, '-N', database];
        const env = { ...process.env, MYSQL_PWD: password };
        const sql = 'SELECT DATABASE(), CURRENT_USER()';
        const { stdout } = await promisify(execFile)(program, [...args, ...login, '-e', sql], { env });
        assert.equal(stdout.trim(), 'app\tapp@%');
      });
    });

    test('nodes have no history and differ in identity', { timeout: 120_000 }, async () => {
      await withSandbox({ flavor, replication: 'async', nodes: 2 }, async (sandbox) => {
        const sql =
          flavor === 'mysql'
            ? 'SELECT @@server_uuid AS identity, @@gtid_executed AS history'
            : 'SELECT @@server_id AS identity, @@gtid_current_pos AS history';
        const more = ', @@report_host AS host, @@report_port AS port, @@tmpdir AS temporary';
        const rows = await Promise.all(
          sandbox.nodes.map(async (each) => (await ask(each, sandbox.admin, sql + more))[0]),
        );
        assert.deepEqual(
          rows.map((row) => row?.['history']),
          ['', ''],
        );
        assert.notEqual(rows[0]?.['identity'], rows[1]?.['identity']);
        // A MariaDB that starts removes the temporary tables of every other server that has the same directory for them.
        assert.notEqual(rows[0]?.['temporary'], rows[1]?.['temporary']);
        assert.deepEqual(
          rows.map((row) => [row?.['host'], row?.['port']]),
          sandbox.nodes.map((each) => ['127.0.0.1', each.port]),
        );
      });
    });

    test('only the accounts that were asked for can log in', { timeout: 120_000 }, async () => {
      await withSandbox({ flavor, replication: 'async', nodes: 1 }, async (sandbox) => {
        const only = node(sandbox, 'node1');
        const users = await ask(only, sandbox.admin, 'SELECT User, Host FROM mysql.user ORDER BY User, Host');
        const system = ['PUBLIC', 'mariadb.sys', 'mysql.infoschema', 'mysql.session', 'mysql.sys'];
        assert.deepEqual(
          users
            .map((row) => `${String(row['User'])}@${String(row['Host'])}`)
            .filter((name) => !system.includes(name.split('@')[0] ?? '')),
          ['app@%', 'evenkeel@%', 'root@localhost'],
        );
        await assert.rejects(ask(only, { user: 'root', password: '' }, 'SELECT 1'));
        await assert.rejects(ask(only, { user: 'nobody', password: '' }, 'SELECT 1'));
        await assert.rejects(ask(only, { ...sandbox.app, database: 'mysql' }, 'SELECT 1'), { errno: 1044 });
      });
    });

    test('up on an existing sandbox starts what is down and promotes nobody', { timeout: 120_000 }, async () => {
      await withSandbox({ flavor, replication: 'async', nodes: 2 }, async (sandbox) => {
        const { dir } = sandbox;
        await Promise.all(['node1', 'node2'].map((name) => killNode(dir, name, 'SIGKILL')));
        const again = await startSandbox({ flavor, replication: 'async', nodes: 2, dir }, { bound: true });
        assert.deepEqual(
          again.nodes.map(({ name, port, role }) => ({ name, port, role })),
          sandbox.nodes.map(({ name, port }) => ({ name, port, role: 'replica' })),
        );
        assert.deepEqual([again.admin, again.app], [sandbox.admin, sandbox.app]);
        const third = await startSandbox({ flavor, replication: 'async', nodes: 2, dir }, { bound: true });
        assert.deepEqual(third, again);
        await assert.rejects(startSandbox({ flavor, replication: 'async', nodes: 3, dir }), { reason: 'usage' });
      });
    });

    test('a frozen node is told from a dead one, and down ends it as well', { timeout: 120_000 }, async () => {
      const dir = await mkdtemp(join(tmpdir(), 'evenkeel-sandbox-'));
      try {
        await startSandbox({ flavor, replication: 'async', nodes: 1, dir }, { bound: true });
        await killNode(dir, 'node1', 'SIGSTOP');
        await eventually('node1 is frozen', async () => (await sandboxStatus(dir)).nodes[0]?.state === 'frozen');
        await killNode(dir, 'node1', 'SIGCONT');
        await eventually('node1 answers', async () => (await sandboxStatus(dir)).nodes[0]?.role === 'primary');
        await killNode(dir, 'node1', 'SIGSTOP');
        await stopSandbox(dir);
        assert.equal(existsSync(dir), false);
        assert.deepEqual(await processesOf(dir), []);
      } finally {
        await rm(dir, { recursive: true, force: true });
      }
    });
  });
}

test('a server that cannot start tells why, and nothing is left', { timeout: 60_000 }, async () => {
  await withSandbox({ flavor: 'mariadb', replication: 'async', nodes: 1 }, async ({ dir, nodes }) => {
    await killNode(dir, 'node1', 'SIGTERM');
    const blocker = spawn(process.execPath, [
      '-e',
      `require('net').createServer().listen(${nodes[0]?.port}, '127.0.0.1', () => console.log('ready'))`,
    ]);
    try {
      await new Promise((resolve) => blocker.stdout.once('data', resolve));
      await assert.rejects(startNode(dir, 'node1'), (error: Error) => {
        assert.match(error.message, /node1 ended while it was starting; the end of its log:/);
        assert.match(error.message, /Address already in use/);
        return true;
      });
    } finally {
      blocker.kill();
    }
  });
});

test('the servers of a test that is killed die with it', { timeout: 60_000 }, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'evenkeel-sandbox-'));
  const door = join(import.meta.dirname, '../../src/sandbox/index.ts');
  const script = `
    import { withSandbox } from ${JSON.stringify(door)};
    const options = { flavor: 'mariadb', replication: 'async', nodes: 1, dir: ${JSON.stringify(dir)} };
    await withSandbox(options, async (sandbox) => {
      console.log(sandbox.nodes[0].port);
      await new Promise((resolve) => setTimeout(resolve, 60_000));
    });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const port = Number(await new Promise((resolve) => child.stdout.once('data', resolve)));
    child.kill('SIGKILL');
    await eventually('its port is closed', () => refused(port));
    assert.deepEqual(await processesOf(dir), []);
  } finally {
    child.kill('SIGKILL');
    await stopSandbox(dir).catch(() => rm(dir, { recursive: true, force: true }));
  }
});

test('what an interrupted up left behind is removed by the next one', { timeout: 60_000 }, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'evenkeel-sandbox-'));
  const options = { flavor: 'mariadb', replication: 'async', nodes: 1, dir } as const;
  try {
    await startSandbox(options, { bound: true });
    const file = join(dir, 'sandbox.json');
    const saved = JSON.parse(await readFile(file, 'utf8')) as object;
    await writeFile(file, JSON.stringify({ ...saved, making: 1 }));
    await assert.rejects(startSandbox(options), { reason: 'usage', message: /process 1 is making a sandbox in/ });
    await writeFile(file, JSON.stringify({ ...saved, making: 2 ** 30 }));
    const again = await startSandbox(options, { bound: true });
    assert.equal(again.nodes[0]?.role, 'primary');
    assert.notEqual(again.admin.password, (saved as SandboxInfo).admin.password);
  } finally {
    await stopSandbox(dir).catch(() => rm(dir, { recursive: true, force: true }));
  }
});

function refused(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', () => resolve(true));
  });
}

async function waitsForAcknowledgement(sandbox: SandboxInfo, primary: SandboxNode, wanted: boolean): Promise<void> {
  const pattern = sandbox.flavor === 'mysql' ? 'Rpl_semi_sync_source_yes_tx' : 'Rpl_semi_sync_master_yes_tx';
  const [row] = await ask(primary, sandbox.admin, `SHOW GLOBAL STATUS LIKE '${pattern}'`);
  const acknowledged = Number(row?.['Value'] ?? 0);
  assert.equal(acknowledged > 0, wanted, `${acknowledged} transactions were acknowledged by a replica`);
}

async function follows(sandbox: SandboxInfo, replica: SandboxNode): Promise<boolean> {
  const mysqlNames = sandbox.flavor === 'mysql';
  const [row] = await ask(replica, sandbox.admin, mysqlNames ? 'SHOW REPLICA STATUS' : 'SHOW SLAVE STATUS');
  return row?.[mysqlNames ? 'Replica_IO_Running' : 'Slave_IO_Running'] === 'Yes';
}
