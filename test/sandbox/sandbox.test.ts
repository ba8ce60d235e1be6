// What the sandbox refuses before it starts anything, and the option files it writes. No server runs here.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { publish } from '../../src/sandbox/apt.ts';
import {
  freePorts,
  killNode,
  SandboxError,
  sandboxStatus,
  startNode,
  startSandbox,
  stopSandbox,
} from '../../src/sandbox/index.ts';
import { optionFile } from '../../src/sandbox/options.ts';
import { launch, nodeFiles, processOf, signalNode } from '../../src/sandbox/process.ts';
import { cacheDir, findServer, olderThan, type ServerProgram } from '../../src/sandbox/servers.ts';
import type { SandboxOptions } from '../../src/sandbox/types.ts';

let work = '';
before(async () => {
  work = await mkdtemp(join(tmpdir(), 'evenkeel-test-'));
});
after(() => rm(work, { recursive: true, force: true }));

function rejectsWith(reason: SandboxError['reason'], text: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof SandboxError, String(error));
    assert.equal(error.reason, reason);
    assert.match(error.message, text);
    return true;
  };
}

describe('what cannot be is refused, and nothing is made', () => {
  const cases: [string, object, RegExp][] = [
    ['an unknown flavor', { flavor: 'postgres' }, /unknown flavor 'postgres': mariadb or mysql/],
    ['group replication on MariaDB', { replication: 'group' }, /'group' needs --flavor mysql, not mariadb/],
    ['galera on MySQL', { flavor: 'mysql', replication: 'galera' }, /'galera' needs --flavor mariadb, not mysql/],
    ['an unknown replication', { replication: 'row' }, /unknown replication 'row': async, semisync, group/],
    ['no nodes', { nodes: 0 }, /1 to 5 nodes, not 0/],
    ['six nodes', { nodes: 6 }, /1 to 5 nodes, not 6/],
    ['half a node', { nodes: 1.5 }, /1 to 5 nodes, not 1.5/],
    ['a number that is none', { nodes: Number.NaN }, /1 to 5 nodes, not NaN/],
    ['semi-sync without a replica', { replication: 'semisync', nodes: 1 }, /nobody could acknowledge/],
    ['an empty directory name', { dir: '' }, /needs a directory/],
    ['a directory name that an option file cannot hold', { dir: '/tmp/a#b' }, /cannot stand in an option file/],
  ];
  for (const [name, change, text] of cases) {
    test(name, async () => {
      const dir = join(work, 'refused');
      const options = { flavor: 'mariadb', replication: 'async', nodes: 3, dir, ...change } as SandboxOptions;
      await assert.rejects(startSandbox(options), rejectsWith('usage', text));
      assert.equal(existsSync(dir), false);
    });
  }
});

describe('a directory that is not a sandbox is left alone', () => {
  const options = { flavor: 'mariadb', replication: 'async', nodes: 1 } as const;

  test('one with something else in it', async () => {
    const dir = await mkdtemp(join(work, 'foreign-'));
    await writeFile(join(dir, 'precious'), 'data');
    await assert.rejects(startSandbox({ ...options, dir }), rejectsWith('usage', /is not empty and holds no sandbox/));
    await assert.rejects(stopSandbox(dir), rejectsWith('not-a-sandbox', /holds no sandbox/));
    assert.deepEqual(await readdir(dir), ['precious']);
  });

  test('one with a state file of somebody else', async () => {
    const dir = await mkdtemp(join(work, 'foreign-'));
    for (const text of ['not json', 'null', '[]', '{"nodes":[]}']) {
      await writeFile(join(dir, 'sandbox.json'), text);
      await assert.rejects(startSandbox({ ...options, dir }), rejectsWith('not-a-sandbox', /was not written by/));
      await assert.rejects(stopSandbox(dir), rejectsWith('not-a-sandbox', /was not written by/));
      assert.deepEqual(await readdir(dir), ['sandbox.json']);
    }
  });

  test('a file', async () => {
    const dir = join(work, 'file');
    await writeFile(dir, '');
    await assert.rejects(startSandbox({ ...options, dir }), rejectsWith('usage', /cannot use .*file for a sandbox/));
  });

  test('one that does not exist', async () => {
    const dir = join(work, 'missing');
    for (const verb of [
      () => stopSandbox(dir),
      () => sandboxStatus(dir),
      () => startNode(dir, 'node1'),
      () => killNode(dir, 'node1', 'SIGKILL'),
    ]) {
      await assert.rejects(verb(), rejectsWith('not-a-sandbox', /holds no sandbox/));
    }
  });
});

describe('finding servers', () => {
  test('a variable that names nothing, or the wrong program, is an error that names the variable', async () => {
    const kept = process.env['EVENKEEL_MYSQLD'];
    try {
      process.env['EVENKEEL_MYSQLD'] = join(work, 'nowhere');
      await assert.rejects(
        findServer('mysql'),
        rejectsWith('no-server', /EVENKEEL_MYSQLD names .*nowhere, which does not/),
      );
      process.env['EVENKEEL_MYSQLD'] = process.execPath;
      await assert.rejects(findServer('mysql'), rejectsWith('no-server', /which is not a mysql server/));
      const fake = join(work, 'mysqld');
      await writeFile(fake, '#!/bin/sh\necho "mysqld  Ver 10.11.6-MariaDB for Linux"\n', { mode: 0o755 });
      process.env['EVENKEEL_MYSQLD'] = fake;
      await assert.rejects(findServer('mysql'), rejectsWith('no-server', /which is not a mysql server/));
      await writeFile(fake, '#!/bin/sh\necho "mysqld  Ver 5.7.44 for Linux"\n', { mode: 0o755 });
      await assert.rejects(
        findServer('mysql'),
        rejectsWith('no-server', /a server 5\.7\.44; 8\.0\.26 or later is needed/),
      );
    } finally {
      if (kept === undefined) delete process.env['EVENKEEL_MYSQLD'];
      else process.env['EVENKEEL_MYSQLD'] = kept;
    }
  });

  test('without apt and without a server the error says what to do', async () => {
    const script = `
      import { bundleRoot } from ${JSON.stringify(join(import.meta.dirname, '../../src/sandbox/apt.ts'))};
      const debian = { suite: 'sid', packages: ['nothing'] };
      const bundle = { name: 'mysql', debian, ubuntu: null, instead: 'name it in EVENKEEL_MYSQLD' };
      await bundleRoot(bundle, ${JSON.stringify(work)}, () => {}).catch((error) => console.log(error.reason, error.message));`;
    const env = { ...process.env, PATH: work };
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env });
    assert.match(stdout, /^no-server cannot install mysql.*name it in EVENKEEL_MYSQLD/);
  });

  test('the cache is where the environment says', () => {
    assert.equal(cacheDir({ EVENKEEL_CACHE: '/a', XDG_CACHE_HOME: '/b' }), '/a');
    assert.equal(cacheDir({ XDG_CACHE_HOME: '/b' }), '/b/evenkeel');
    assert.match(cacheDir({}), /\/\.cache\/evenkeel$/);
  });

  test('versions are compared as numbers', () => {
    assert.equal(olderThan('8.0.9', '8.0.26'), true);
    assert.equal(olderThan('8.0.26', '8.0.26'), false);
    assert.equal(olderThan('10.11.2', '10.5.0'), false);
    assert.equal(olderThan('9.7.4', '10.0.0'), true);
  });

  test('of two that install at once, the second lets the first stand', async () => {
    const final = join(work, 'bundle');
    for (const name of ['first', 'second']) {
      const partial = join(work, name);
      await mkdir(partial);
      await writeFile(join(partial, 'complete'), name);
      await publish(partial, final);
    }
    assert.equal(await readFile(join(final, 'complete'), 'utf8'), 'first');
  });
});

describe('option files', () => {
  const paths = { baseDir: '/usr', pluginDir: '/plugins', shareDir: '/share', source: 'path', root: null } as const;
  const programs: ServerProgram[] = [
    { ...paths, argv0: ['mysqld'], flavor: 'mysql', version: '9.7.4' },
    { ...paths, argv0: ['mariadbd'], flavor: 'mariadb', version: '10.11.19' },
  ];
  const peers = { peerPorts: [2], groupPorts: [1, 2], group: 'aaaaaaaa-0000-4000-8000-000000000000' };
  const node = { serverId: 2, port: 12345, dataDir: '/d/data', tmpDir: '/d/tmp', errorLog: '/d/error.log', ...peers };

  for (const program of programs) {
    test(`${program.flavor} starts read-only, keeps what is committed when killed, and waits for no acknowledgement before it is primary`, () => {
      const lines = optionFile(program, { ...node, replication: 'semisync' }).split('\n');
      const [first] = lines;
      assert.equal(first, '[mysqld]');
      const ours = [
        'read_only=ON',
        'sync_binlog=0',
        'innodb_flush_log_at_trx_commit=2',
        'report_port=12345',
        'server_id=2',
      ];
      for (const line of ours) assert.ok(lines.includes(line), line);
      const source = program.flavor === 'mysql' ? 'rpl_semi_sync_source' : 'rpl_semi_sync_master';
      assert.ok(lines.includes(`${source}_enabled=OFF`));
      assert.ok(lines.includes(`${source}_wait_point=AFTER_SYNC`));
      assert.equal(lines.includes('super_read_only=ON'), program.flavor === 'mysql');
      assert.equal(lines.includes('init_rpl_role=SLAVE'), program.flavor === 'mariadb');
    });

    test(`${program.flavor} without semi-sync has none of its settings`, () => {
      assert.doesNotMatch(optionFile(program, { ...node, replication: 'async' }), /semi_?sync/);
    });
  }
});

describe('processes', () => {
  test('a pid that was given to somebody else is not taken for the node', async () => {
    const dir = await mkdtemp(join(work, 'node-'));
    await writeFile(nodeFiles(dir).pid, `${process.pid}\n`);
    assert.equal(processOf(dir), null);
    signalNode(dir, 'SIGKILL'); // or this test would end here
    for (const text of ['', 'x', '0', '-1', '1']) {
      await writeFile(nodeFiles(dir).pid, text);
      assert.equal(processOf(dir), null);
    }
  });

  test('a program that cannot be run is an error, not a crash', async () => {
    const dir = await mkdtemp(join(work, 'node-'));
    const program = { flavor: 'mysql', argv0: [join(work, 'nowhere')], version: '1.0.0' } as unknown as ServerProgram;
    await assert.rejects(launch(program, dir, [], false), rejectsWith('start-failed', /nowhere/));
  });
});

test('a port is kept for the process that asked for it until that ends', async () => {
  const [port = 0] = await freePorts(1);
  const kept = join(cacheDir(), 'ports', String(port));
  assert.equal(await readFile(kept, 'utf8'), String(process.pid));
  const ports = new URL('../../src/sandbox/ports.ts', import.meta.url).href;
  const other = `const { freePorts } = await import('${ports}'); console.log((await freePorts(3)).join(' '));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', other]);
  const theirs = stdout.trim().split(' ');
  assert.equal(theirs.length, 3);
  assert.ok(!theirs.includes(String(port)));
  for (const one of theirs) await assert.rejects(readFile(join(cacheDir(), 'ports', one)), { code: 'ENOENT' });
});

test('ports are different and below those of outgoing connections', async () => {
  const ports = await freePorts(50);
  assert.equal(new Set(ports).size, 50);
  const range = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8');
  for (const port of ports) assert.ok(port >= 11_000 && port < Number.parseInt(range, 10), String(port));
});
