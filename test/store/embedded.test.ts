// The embedded store against real files: what is kept, what is bounded, and what is refused to be opened.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, test } from 'node:test';
import type { RecoveryRecord } from '../../src/recovery/index.ts';
import {
  MAX_RECOVERIES_PER_CLUSTER,
  openEmbeddedStore,
  StoreError,
  type StoreErrorCode,
} from '../../src/store/index.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'evenkeel-store-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function record(number: number, cluster = 'shop'): RecoveryRecord {
  return {
    id: `${cluster}-${String(number).padStart(6, '0')}`,
    kind: 'failover',
    cluster,
    from: 'db1:3306',
    to: 'db2:3306',
    epoch: number,
    outcome: 'done',
    reason: 'the only eligible replica',
    startedAt: new Date(1_795_000_000_000 + number * 1_000).toISOString(),
    durationMs: 12.5,
    longestStallMs: 40,
    clientErrors: 0,
    steps: [{ name: 'look', startedMs: 0, durationMs: 2, detail: 'ok' }],
  };
}

function refusal(path: string): { code: StoreErrorCode; message: string } {
  try {
    openEmbeddedStore(path).close();
  } catch (error) {
    assert.ok(error instanceof StoreError, String(error));
    return { code: error.code, message: error.message };
  }
  return assert.fail('the store was opened');
}

test('what was saved is there again after the process ended', () => {
  const path = join(dir, 'state.db');
  const memory = { cluster: 'shop', epoch: 3, primary: 'db2:3306', nodes: [{ node: 'db2:3306', identity: 'u' }] };
  const before = openEmbeddedStore(path);
  before.saveCluster(memory);
  before.saveRecovery(record(1));
  before.close();
  const after = openEmbeddedStore(path);
  assert.deepEqual(after.loadCluster('shop'), memory);
  assert.equal(after.loadCluster('other'), null);
  assert.deepEqual(after.recovery('shop-000001'), record(1));
  assert.equal(after.recovery('nothing'), null);
  after.close();
});

test('an epoch never goes back, whoever writes last', () => {
  const store = openEmbeddedStore(':memory:');
  store.saveCluster({ cluster: 'shop', epoch: 5, primary: 'db1:3306', nodes: [] });
  store.saveCluster({ cluster: 'shop', epoch: 4, primary: 'db9:3306', nodes: [] });
  assert.equal(store.loadCluster('shop')?.epoch, 5);
  store.saveCluster({ cluster: 'shop', epoch: 5, primary: null, nodes: [] });
  assert.equal(store.loadCluster('shop')?.primary, null);
  store.close();
});

test('history is newest first, whatever the clock said, by cluster or over all, and a second save replaces the first', () => {
  const store = openEmbeddedStore(':memory:');
  for (const number of [2, 1, 3]) store.saveRecovery(record(number));
  store.saveRecovery(record(4, 'blog'));
  store.saveRecovery({ ...record(2), outcome: 'failed' });
  assert.deepEqual(
    store.history().map((one) => one.id),
    ['blog-000004', 'shop-000003', 'shop-000001', 'shop-000002'],
  );
  assert.deepEqual(
    store.history({ cluster: 'shop', limit: 2 }).map((one) => `${one.id} ${one.outcome}`),
    ['shop-000003 done', 'shop-000001 done'],
  );
  assert.equal(store.recovery('shop-000002')?.outcome, 'failed');
  store.close();
});

test('a history of an older version keeps its order', () => {
  const path = join(dir, 'state.db');
  const old = new DatabaseSync(path);
  old.exec(
    `CREATE TABLE cluster (cluster TEXT PRIMARY KEY, epoch INTEGER NOT NULL, memory TEXT NOT NULL) STRICT;
     CREATE TABLE recovery (id TEXT PRIMARY KEY, cluster TEXT NOT NULL, started_at TEXT NOT NULL, record TEXT NOT NULL) STRICT;
     CREATE TABLE standing_orders (cluster TEXT PRIMARY KEY, orders TEXT NOT NULL) STRICT;
     CREATE INDEX recovery_by_time ON recovery (cluster, started_at, id);
     PRAGMA application_id = 0x45564b4c; PRAGMA user_version = 2`,
  );
  const insert = old.prepare('INSERT INTO recovery VALUES (?, ?, ?, ?)');
  for (const number of [2, 1]) {
    const one = record(number);
    insert.run(one.id, one.cluster, one.startedAt, JSON.stringify(one));
  }
  old.close();
  const store = openEmbeddedStore(path);
  store.saveRecovery(record(0));
  assert.deepEqual(
    store.history().map((one) => one.id),
    ['shop-000000', 'shop-000002', 'shop-000001'],
  );
  store.close();
});

test('only the newest recoveries of each cluster are kept', () => {
  const store = openEmbeddedStore(':memory:');
  store.saveRecovery(record(0, 'blog'));
  for (let number = 1; number <= MAX_RECOVERIES_PER_CLUSTER + 20; number++) store.saveRecovery(record(number));
  assert.equal(store.history({ cluster: 'shop', limit: 1_000_000 }).length, MAX_RECOVERIES_PER_CLUSTER);
  assert.equal(store.recovery('shop-000020'), null);
  assert.notEqual(store.recovery('shop-000021'), null);
  assert.notEqual(store.recovery('blog-000000'), null);
  store.close();
});

test('the files can be read by their owner only', () => {
  const path = join(dir, 'state.db');
  const store = openEmbeddedStore(path);
  store.saveRecovery(record(1));
  for (const file of [path, `${path}-wal`, `${path}-shm`]) assert.equal(statSync(file).mode & 0o777, 0o600, file);
  store.close();
});

test('a file that is no database is refused and left as it was', () => {
  const path = join(dir, 'state.db');
  writeFileSync(path, 'this is not a database, and it is long enough to be looked at as one'.repeat(50));
  const before = readFileSync(path);
  const { code, message } = refusal(path);
  assert.equal(code, 'corrupt');
  assert.match(message, /state\.db/);
  assert.deepEqual(readFileSync(path), before);
});

test('a database of another program is refused', () => {
  const path = join(dir, 'state.db');
  const other = new DatabaseSync(path);
  other.exec('CREATE TABLE t (a)');
  other.close();
  assert.equal(refusal(path).code, 'foreign');
});

test('a file of a newer version is refused and says so', () => {
  const path = join(dir, 'state.db');
  openEmbeddedStore(path).close();
  const db = new DatabaseSync(path);
  db.exec('PRAGMA user_version = 99');
  db.close();
  const { code, message } = refusal(path);
  assert.equal(code, 'newer');
  assert.match(message, /99/);
});

test('a damaged file is refused', () => {
  const path = join(dir, 'state.db');
  const store = openEmbeddedStore(path);
  for (let number = 1; number <= 200; number++) store.saveRecovery(record(number));
  store.close();
  const bytes = readFileSync(path);
  bytes.fill(0xee, 4_096, bytes.length - 4_096);
  writeFileSync(path, bytes);
  assert.equal(refusal(path).code, 'corrupt');
});

test('a directory that does not exist is said by name', () => {
  const { code, message } = refusal(join(dir, 'nowhere', 'state.db'));
  assert.equal(code, 'cannot-open');
  assert.match(message, /nowhere/);
});

test('two processes may hold the file at once', () => {
  const path = join(dir, 'state.db');
  const one = openEmbeddedStore(path);
  const two = openEmbeddedStore(path);
  one.saveRecovery(record(1));
  two.saveRecovery(record(2));
  assert.equal(one.history().length, 2);
  one.close();
  two.close();
  two.close(); // closing twice does no harm
});
