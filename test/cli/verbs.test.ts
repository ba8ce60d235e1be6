// The verbs that talk to a running Evenkeel, run as processes against a fake one.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { DIGESTS, RECORD, STATUS, serveFake, stepEvent, TOKEN } from '../support/fake-control.ts';
import { evenkeel } from './run.ts';

const directory = mkdtempSync(join(tmpdir(), 'evenkeel-cli-'));
after(() => rmSync(directory, { recursive: true }));
const empty = join(directory, 'empty');
mkdirSync(empty);

describe('usage', () => {
  for (const [args, status] of [
    [['--help'], 0],
    [['--version'], 0],
    [[], 2],
    [['bogus'], 2],
    [['status', '--bogus'], 2],
    [['status', 'extra'], 2],
    [['status', '--api', 'ftp://x'], 2],
    [['status', '--api', 'http://127.0.0.1:1', '--config', 'x'], 2],
    [['status', '--config', 'none.yaml'], 2],
    [['history', '--limit', '0'], 2],
    [['switchover', '--to'], 2],
    [['top', '--interval', '1ms'], 2],
    [['top', '--count', '0'], 2],
    [['top', '--api', 'http://127.0.0.1:1'], 1],
    [['errant'], 2],
    [['rebuild'], 2],
    [['add-node'], 2],
    [['add-node', 'db9:3306', '--user', 'root', '--password-file', 'none'], 2],
    [['remove-node'], 2],
    [['drain'], 2],
    [['drain', 'db2:3306', '--timeout', '5'], 2],
    [['undrain'], 2],
    [['pause'], 2],
    [['pause', 'writer', '--for', '10'], 2],
    [['pause', 'writer', '--for', '2h'], 2],
    [['resume'], 2],
    [['maintenance'], 2],
    [['maintenance', 'shop', '--for', '30'], 2],
    [['maintenance', 'shop', '--for', '30m', '--end'], 2],
    [['start', '--config', 'none.yaml'], 2],
    [['start'], 2],
    [['start', 'mysql://x'], 2],
    [['start', '--config', 'x.yaml', 'mysql://a:b@c'], 2],
    [['check', 'http://x'], 2],
    [['demo', '--bogus'], 2],
    [['status', '--api', 'http://127.0.0.1:1'], 1],
  ] as const) {
    test(`evenkeel ${args.join(' ')} ends with ${status}`, async () => {
      const run = await evenkeel([...args], { cwd: empty });
      assert.equal(run.status, status, run.err);
      if (status !== 0) assert.notEqual(run.err, '');
      assert.doesNotMatch(run.err, /^\s+at /m, 'a stack is shown');
    });
  }

  for (const verb of [
    'start',
    'check',
    'status',
    'switchover',
    'failover',
    'top',
    'drain',
    'undrain',
    'pause',
    'resume',
    'maintenance',
    'errant',
    'rebuild',
    'add-node',
    'remove-node',
    'history',
    'digests',
    'demo',
  ]) {
    test(`evenkeel ${verb} --help shows an example`, async () => {
      const run = await evenkeel([verb, '--help'], { cwd: empty });
      assert.equal(run.status, 0);
      assert.match(run.out, /Examples?:\n {2}\S*.*evenkeel/);
    });
  }

  test('a configuration with errors tells them all and ends with 2', async () => {
    writeFileSync(join(directory, 'bad.yaml'), 'clusters: {}\nworkers: x\nbogus: 1\n');
    const run = await evenkeel(['start', '--config', 'bad.yaml'], { cwd: directory });
    assert.equal(run.status, 2);
    assert.match(run.err, /bad\.yaml:1:11: clusters: .*\n.*bad\.yaml:2:10: workers: .*\n.*bad\.yaml:3:1: bogus: /);
  });
});

describe('finding the running one', () => {
  test('by --api, by --config and by ./evenkeel.yaml, whose passwords need not be set', async () => {
    await using fake = await serveFake();
    const cwd = mkdtempSync(join(directory, 'cwd-'));
    const text = `clusters: { shop: { admin: { password: \${NOT_SET} } } }\nhttp: { listen: 0.0.0.0:${fake.port} }\n`;
    writeFileSync(join(cwd, 'evenkeel.yaml'), text);
    for (const args of [
      ['--api', fake.base],
      ['--api', `${fake.base}/`],
      ['--config', join(cwd, 'evenkeel.yaml')],
      [],
    ]) {
      const run = await evenkeel(['status', '--json', ...args], { cwd });
      assert.equal(run.status, 0, run.err);
      assert.deepEqual(JSON.parse(run.out), STATUS);
    }
  });

  test('the token comes from --token-file, EVENKEEL_TOKEN, http.token or the state directory', async () => {
    await using fake = await serveFake();
    const cwd = mkdtempSync(join(directory, 'cwd-'));
    const config = (token: string) =>
      writeFileSync(join(cwd, 'evenkeel.yaml'), `http: { listen: 127.0.0.1:${fake.port}${token} }\nstateDir: state\n`);
    const order = (args: string[] = [], env: Record<string, string> = {}) =>
      evenkeel(['failover', ...args], { cwd, env });
    config('');
    const refused = await order();
    assert.equal(refused.status, 1);
    assert.match(refused.err, /--token-file/);
    assert.equal((await order([], { EVENKEEL_TOKEN: TOKEN })).status, 0);
    writeFileSync(join(cwd, 'file'), `${TOKEN}\n`);
    assert.equal((await order(['--token-file', 'file'], { EVENKEEL_TOKEN: 'wrong' })).status, 0);
    assert.equal((await order(['--token-file', 'none'])).status, 2);
    mkdirSync(join(cwd, 'state'));
    writeFileSync(join(cwd, 'state', 'token'), `${TOKEN}\n`);
    assert.equal((await order()).status, 0);
    config(', token: wrong');
    assert.equal((await order()).status, 1);
    config(`, token: ${TOKEN}`);
    assert.equal((await order()).status, 0);
  });

  test('what answers but is no Evenkeel is told apart', async () => {
    const server = createServer((_request, response) => response.end('<html>')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    after(() => server.close());
    const { port } = server.address() as AddressInfo;
    const run = await evenkeel(['status', '--api', `http://127.0.0.1:${port}`], { cwd: empty });
    assert.equal(run.status, 1);
    assert.match(run.err, /is not Evenkeel/);
  });
});

describe('what is printed', () => {
  test('status shows clusters, nodes, problems and endpoints, and nothing that steers the terminal', async () => {
    await using fake = await serveFake();
    const run = await evenkeel(['status', '--api', fake.base], { cwd: empty });
    assert.equal(run.status, 0);
    assert.match(run.out, /cluster shop: degraded, mysql, epoch 3, primary db1:3306/);
    assert.match(run.out, /db2:3306 +replica +replication-broken +\? /);
    assert.match(run.out, /problem replica-broken: db2:3306 is broken/);
    assert.match(
      run.out,
      /writer +shop +127\.0\.0\.1:6446 +primary +7 +1\n {2}pinned: 3 temporary-table, 1 transaction\n/,
    );
    assert.ok(!run.out.includes('\u001b'));
  });

  test('history lists, and shows one with its timeline', async () => {
    await using fake = await serveFake();
    const list = await evenkeel(['history', '--api', fake.base], { cwd: empty });
    assert.match(list.out, /r-1 .*switchover +shop +db1:3306 -> db2:3306 +done +120 ms +45 ms +0 +asked for/);
    const one = await evenkeel(['history', 'r-1', '--api', fake.base], { cwd: empty });
    assert.match(one.out, /\+80 ms +10 ms +promote +db2:3306/);
    const json = await evenkeel(['history', '--json', '--cluster', 'shop', '--api', fake.base], { cwd: empty });
    assert.deepEqual(JSON.parse(json.out), [RECORD]);
    const none = await evenkeel(['history', 'x/../y', '--api', fake.base], { cwd: empty });
    assert.equal(none.status, 1);
    assert.match(none.err, /no recovery of this id/);
  });

  test('digests lists statements, whole as JSON', async () => {
    await using fake = await serveFake();
    const list = await evenkeel(['digests', '--sort', 'longest', '--api', fake.base], { cwd: empty });
    assert.match(list.out, /3 +1 +6 ms +2 ms +4 ms +writer +app +shop +select n from t where id = \?/);
    assert.match(list.out, /4 ms +writer +\(others\) +- +\(others\)/);
    const json = await evenkeel(['digests', '--json', '--limit', '1', '--api', fake.base], { cwd: empty });
    assert.deepEqual(JSON.parse(json.out), DIGESTS.slice(0, 1));
    const wrong = await evenkeel(['digests', '--sort', 'name', '--api', fake.base], { cwd: empty });
    assert.equal(wrong.status, 2);
  });

  test('a switchover prints each step once, as it ends, then the longest stall', async () => {
    await using fake = await serveFake();
    fake.control.onOrder = () => {
      fake.control.emit(stepEvent(0));
      fake.control.emit({ ...stepEvent(1), cluster: 'other' });
      return Promise.resolve(RECORD);
    };
    const run = await evenkeel(['switchover', '--to', 'db2:3306', '--api', fake.base], {
      cwd: empty,
      env: { EVENKEEL_TOKEN: TOKEN },
    });
    assert.equal(run.status, 0, run.err);
    assert.equal(run.out.match(/check/g)?.length, 1);
    assert.match(
      run.out,
      /check \(20 ms\)\n.*promote \(10 ms\): db2:3306\nswitchover of shop done: .*\n.*\n.*longest stall 45 ms, 0 client errors/s,
    );
    assert.deepEqual(fake.control.orders[0]?.options, { to: 'db2:3306' });
  });

  test('a switchover that was rolled back ends with 1, and its record is printed all the same', async () => {
    await using fake = await serveFake();
    fake.control.onOrder = () => Promise.resolve({ ...RECORD, outcome: 'rolled-back', reason: 'lag' });
    const env = { EVENKEEL_TOKEN: TOKEN };
    const run = await evenkeel(['switchover', '--json', '--api', fake.base], { cwd: empty, env });
    assert.equal(run.status, 1);
    assert.equal((JSON.parse(run.out) as typeof RECORD).outcome, 'rolled-back');
    assert.match(run.err, /rolled back: lag/);
  });

  test('top shows the status again and again, with what happens in a second, and survives a restart', async () => {
    await using fake = await serveFake();
    const endpoints = (statements: number) => STATUS.endpoints.map((one) => ({ ...one, statements }));
    let asked = 0;
    fake.control.status = () => ({ ...STATUS, endpoints: endpoints([1000, 3000, 0][asked++] ?? 0) });
    const run = await evenkeel(['top', '--interval', '200ms', '--count', '3', '--json', '--api', fake.base], {
      cwd: empty,
    });
    assert.equal(run.status, 0, run.err);
    const rates = run.out
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { endpoints: { statementsPerSecond: number | null }[] }).endpoints[0])
      .map((endpoint) => endpoint?.statementsPerSecond);
    assert.equal(rates[0], null);
    assert.ok((rates[1] ?? 0) > 100, 'it grew');
    assert.equal(rates[2], null, 'it began anew');
    asked = 0;
    const plain = await evenkeel(['top', '--interval', '200ms', '--count', '2', '--api', fake.base], { cwd: empty });
    assert.equal(plain.out.match(/^cluster shop: degraded/gm)?.length, 2);
    assert.match(plain.out, /STMT\/S +ERR\/S\nwriter .* 7 +1 +- +-\n/);
    assert.match(plain.out, /writer .* 7 +1 +\d{3,} +0\.0\n/);
    assert.ok(!plain.out.includes('\u001b'), 'no terminal, nothing that steers one');
  });

  test('pause says until when, and what is in progress still; resume ends it', async () => {
    await using fake = await serveFake();
    const env = { EVENKEEL_TOKEN: TOKEN };
    const order = (...args: string[]) => evenkeel([...args, '--api', fake.base], { cwd: empty, env });
    const paused = await order('pause', 'writer', '--for', '5s');
    assert.equal(paused.status, 0, paused.err);
    assert.match(paused.out, /^writer is paused in every worker; it resumes by itself at 2030-.*\n2 transactions/);
    const resumed = await order('resume', 'writer', '--json');
    assert.equal((JSON.parse(resumed.out) as { state: string }).state, 'ended');
    assert.deepEqual(fake.control.orders, [
      { kind: 'pause', cluster: 'writer', options: { forMs: 5000, waitMs: 1000 } },
      { kind: 'resume', cluster: 'writer', options: {} },
    ]);
  });

  test('drain says what became of the clients there; undrain waits until the node is in order', async () => {
    await using fake = await serveFake();
    const env = { EVENKEEL_TOKEN: TOKEN };
    const order = (...args: string[]) => evenkeel([...args, '--api', fake.base], { cwd: empty, env });
    const drained = await order('drain', 'db1:3306', '--timeout', '5s', '--to', 'db2:3306');
    assert.equal(drained.status, 0, drained.err);
    assert.match(
      drained.out,
      /^switchover of shop done.*db1:3306 is drained: 3 clients were not done there within 5s/s,
    );
    assert.equal((await order('undrain', 'db1:3306')).status, 0);
    const broken = await order('undrain', 'db2:3306', '--wait', '300ms', '--json');
    assert.equal(broken.status, 1);
    assert.equal((JSON.parse(broken.out) as { nodeState: string }).nodeState, 'replication-broken');
    assert.match(broken.err, /not in order within 300ms \(replication-broken\)/);
    assert.equal((await order('drain', 'db9:3306')).status, 2);
    assert.deepEqual(fake.control.orders, [
      { kind: 'drain', cluster: 'shop', options: { node: 'db1:3306', timeoutMs: 5000, to: 'db2:3306' } },
      { kind: 'undrain', cluster: 'shop', options: { node: 'db1:3306' } },
      { kind: 'undrain', cluster: 'shop', options: { node: 'db2:3306' } },
    ]);
  });

  test('a rebuild prints its steps as a switchover does; errant transactions are shown by table and statement', async () => {
    await using fake = await serveFake();
    const env = { EVENKEEL_TOKEN: TOKEN, EVENKEEL_NODE_PASSWORD: 'secret' };
    const order = (...args: string[]) => evenkeel([...args, '--api', fake.base], { cwd: empty, env });
    const errant = await order('errant', 'db2:3306');
    assert.match(errant.out, /^db2:3306 has 2 that the primary has not: 0-2-1, 0-2-2\n/);
    assert.match(errant.out, / {2}0-2-1\n {4}CREATE TABLE t \(n INT\)\n {2}0-2-2\n {4}insert, delete: app\.t\n/);
    const rebuilt = await order('rebuild', 'db2:3306', '--from', 'db1:3306', '--wait', '5m');
    assert.equal(rebuilt.status, 0, rebuilt.err);
    assert.match(rebuilt.out, /promote \(10 ms\): db2:3306\n/);
    assert.equal((await order('add-node', 'db3:3306', '--user', 'root')).status, 0);
    assert.equal((await order('remove-node', 'db2:3306')).status, 0);
    fake.control.onOrder = () =>
      Promise.reject(Object.assign(new Error('it is:\nthis and\nthat'), { code: 'refused' }));
    const refused = await order('rebuild', 'db2:3306');
    assert.equal(refused.status, 1);
    assert.match(refused.err, /it is:\n.*this and\n.*that/);
    assert.deepEqual(fake.control.orders.slice(0, 4), [
      { kind: 'errant', cluster: 'shop', options: { node: 'db2:3306' } },
      { kind: 'rebuild', cluster: 'shop', options: { node: 'db2:3306', from: 'db1:3306', returnWaitMs: 300_000 } },
      {
        kind: 'add-node',
        cluster: 'shop',
        options: { node: 'db3:3306', returnWaitMs: 1_800_000, credentials: { user: 'root', password: 'secret' } },
      },
      { kind: 'remove-node', cluster: 'shop', options: { node: 'db2:3306' } },
    ]);
  });

  test('maintenance is of a node or of a cluster, for a time or until it is ended', async () => {
    await using fake = await serveFake();
    const env = { EVENKEEL_TOKEN: TOKEN };
    const order = (...args: string[]) => evenkeel(['maintenance', ...args, '--api', fake.base], { cwd: empty, env });
    const node = await order('db2:3306', '--for', '30m');
    assert.equal(node.status, 0, node.err);
    assert.match(node.out, /^db2:3306 is in maintenance until 2030-01-01T00:00:00\.000Z/);
    const cluster = await order('shop', '--end', '--json');
    assert.equal((JSON.parse(cluster.out) as { of: string }).of, 'shop');
    const unknown = await order('db9:3306');
    assert.equal(unknown.status, 2);
    assert.match(unknown.err, /there are: shop, db1:3306, db2:3306/);
    assert.deepEqual(fake.control.orders, [
      { kind: 'maintenance', cluster: 'shop', options: { node: 'db2:3306', forMs: 1_800_000 } },
      { kind: 'maintenance', cluster: 'shop', options: { end: true } },
    ]);
  });

  test('an order that is refused says why and ends with 1; an unknown cluster ends with 2', async () => {
    await using fake = await serveFake();
    fake.control.onOrder = () => Promise.reject(Object.assign(new Error('acknowledged writes'), { code: 'refused' }));
    const env = { EVENKEEL_TOKEN: TOKEN };
    const refused = await evenkeel(['failover', '--force', '--api', fake.base], { cwd: empty, env });
    assert.equal(refused.status, 1);
    assert.match(refused.err, /acknowledged writes/);
    assert.deepEqual(fake.control.orders[0]?.options, { force: true });
    const unknown = await evenkeel(['failover', '--cluster', 'x', '--api', fake.base], { cwd: empty, env });
    assert.equal(unknown.status, 2);
    assert.match(unknown.err, /there are: shop/);
  });
});
