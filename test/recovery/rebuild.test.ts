// A rebuild over hands that only tell: what is refused before anything is touched, the order of the rest, and what is
// kept of the transactions that are gone afterwards.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrantReport, NodeRebuilder } from '../../src/cluster/index.ts';
import type { ClusterView, NodeFacts, NodeView } from '../../src/cluster/types.ts';
import { type RebuildOptions, type RecoveryContext, runRebuild } from '../../src/recovery/index.ts';
import { mariadbProcedure } from '../../src/recovery/procedure.ts';
import { openEmbeddedStore } from '../../src/store/index.ts';
import { config } from './model.ts';

const uuid = '40dd4d95-e820-11f1-80e1-02fc00000001';
const errant: ErrantReport = {
  node: 'b:1',
  count: 1,
  gtids: `${uuid}:1`,
  transactions: [{ gtid: `${uuid}:1`, statements: ['DROP TABLE t'], tables: [{ table: 'app.u', did: ['delete'] }] }],
  note: '',
};

function facts(over: Partial<NodeFacts> = {}): NodeFacts {
  return {
    flavor: 'mysql',
    version: '9.7.0',
    serverId: 1,
    identity: 'a',
    startedAtMs: 1000,
    readOnly: true,
    superReadOnly: true,
    gtidExecuted: '',
    gtidPosition: '',
    logBin: true,
    logReplicaUpdates: true,
    replication: null,
    semiSync: null,
    replicas: [],
    ...over,
  };
}

function nodeView(node: string, role: NodeView['role'], state: NodeView['state'], serverId: number): NodeView {
  const seen = { node, at: 0, reach: { state: 'up', rttMs: 1 }, facts: facts({ serverId }), factsAt: 0 } as const;
  return { node, role, state, detail: '', lagMs: 0, gtid: '', observation: seen };
}

interface Stage {
  done: string[];
  context: RecoveryContext;
  rebuilder: NodeRebuilder;
  run: (options?: Partial<RebuildOptions>) => ReturnType<typeof runRebuild>;
}

function stage(over: Partial<ClusterView> = {}, hands: Partial<NodeRebuilder> = {}): Stage {
  const done: string[] = [];
  const nodes = [
    nodeView('a:1', 'primary', 'ok', 1),
    nodeView('b:1', 'replica', 'errant', 2),
    nodeView('c:1', 'replica', 'ok', 3),
  ];
  const view: ClusterView = { cluster: 'shop', flavor: 'mysql', primary: 'a:1', nodes, problems: [], ...over };
  const note = (what: string) => (node: string) => {
    done.push(`${what} ${node}`);
    return Promise.resolve();
  };
  let now = 0;
  const context = {
    cluster: 'shop',
    view: () => view,
    nodes: {
      look: (node: string) => Promise.resolve(facts({ identity: node })),
      setReadOnly: note('read-only'),
      follow: (node: string, source: string) => note(`follow ${source}`)(node),
      waitForGtid: () => Promise.resolve(true),
    },
    gate: {},
    store: openEmbeddedStore(':memory:'),
    clock: {
      nowMs: () => now,
      wallMs: () => now,
      sleep: (ms: number, signal?: AbortSignal) => {
        // Deadlines never come; pauses are over at once.
        if (signal !== undefined)
          return new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        now += ms;
        return Promise.resolve();
      },
    },
    config: config('none'),
    log: { info: () => {}, warn: () => {} },
  } as unknown as RecoveryContext;
  const rebuilder: NodeRebuilder = {
    inspect: () => Promise.resolve({ flavor: 'mysql', version: '9.7.0', serverId: 9, databases: [] }),
    errant: () => Promise.resolve(errant),
    clone: (node, donor, _credentials, onProgress) => {
      done.push(`clone ${donor} ${node}`);
      for (const percent of [0, 3, 12, 50, 55])
        onProgress({ stage: 'file copy', percent, bytes: percent * 1024 * 1024 });
      return Promise.resolve('stopped');
    },
    cloneError: () => Promise.resolve(null),
    ...hands,
  };
  const run = (options: Partial<RebuildOptions> = {}) =>
    runRebuild(context, { node: 'b:1', rebuilder, returnWaitMs: 60_000, ...options });
  return { done, context, rebuilder, run };
}

test('a node with errant transactions is cloned from a replica and follows the primary; what it had is in the record', async () => {
  const { context, done, run } = stage();
  const record = await run();
  assert.deepEqual([record.kind, record.outcome, record.from, record.to], ['rebuild', 'done', 'c:1', 'b:1']);
  assert.deepEqual(done, ['clone c:1 b:1', 'read-only b:1', 'follow a:1 b:1']);
  const kept = context.store.recovery(record.id);
  const detail = (name: string) => kept?.steps.filter((step) => step.name === name).map((step) => step.detail);
  assert.deepEqual(detail('errant transactions'), [`1: ${uuid}:1\n${uuid}:1 (delete app.u; DROP TABLE t)`]);
  assert.deepEqual(detail('clone'), ['file copy, 0 %, 0 MiB', 'file copy, 12 %, 12 MiB', 'file copy, 50 %, 50 MiB']);
  assert.equal(detail('start the server')?.length, 1);
});

test('nothing is touched where the rebuild is refused', async () => {
  const none = { errant: () => Promise.resolve({ ...errant, count: 0, gtids: '', transactions: [] }) };
  const cases: [Stage, Partial<RebuildOptions>, RegExp][] = [
    [stage(), { node: 'a:1' }, /a:1 is the primary/],
    [stage({ primary: null }), {}, /no primary is known/],
    [stage(), { donor: 'b:1' }, /from itself/],
    [stage({}, none), {}, /no errant transactions.*--force/],
    [stage({ topology: 'group' }), {}, /distributed recovery/],
    [stage({ topology: 'galera' }), {}, /state transfer/],
    [stage({ flavor: 'mariadb' }), {}, /mariadb-backup --backup/],
  ];
  for (const [{ done, run }, options, reason] of cases) {
    const record = await run(options);
    assert.equal(record.outcome, 'failed');
    assert.match(record.reason, /^refused: /);
    assert.match(record.reason, reason);
    assert.deepEqual(done, []);
  }
  const forced = await stage({}, none).run({ force: true });
  assert.equal(forced.outcome, 'done');
});

test('a server is added only where it is empty, of the same family, and has a server_id of its own', async () => {
  const newcomer = { flavor: 'mysql' as const, version: '9.7.0', serverId: 9, databases: [] };
  const found = (over: object) => ({ inspect: () => Promise.resolve({ ...newcomer, ...over }) });
  const cases: [object, RegExp][] = [
    [{ flavor: 'mariadb' }, /is mariadb, the cluster is mysql/],
    [{ databases: ['shop'] }, /not empty: it has shop/],
    [{ serverId: 3 }, /server_id 3 of c:1/],
  ];
  const options = { node: 'd:1', added: { credentials: null, keepData: false } };
  for (const [over, reason] of cases) {
    const { done, run } = stage({}, found(over));
    assert.match((await run(options)).reason, reason);
    assert.deepEqual(done, []);
  }
  const { done, run } = stage({}, found({}));
  assert.equal((await run(options)).kind, 'add-node');
  assert.deepEqual(done, ['clone c:1 d:1', 'read-only d:1', 'follow a:1 d:1']);
});

test('a server that holds the data already joins as it is, unless it has transactions of its own', async () => {
  const executed = { 'a:1': `${uuid}:1-9`, 'd:1': `${uuid}:1-5` };
  const looked = (over: Record<string, string>, serverId = 9) => {
    const { context, done, run } = stage();
    context.nodes.look = (node) => {
      const gtid = { ...executed, ...over }[node] ?? '';
      return Promise.resolve(
        facts({ serverId: node === 'd:1' ? serverId : 1, gtidExecuted: gtid, gtidPosition: gtid }),
      );
    };
    return { done, run: () => run({ node: 'd:1', added: { credentials: null, keepData: true } }) };
  };
  const sound = looked({});
  assert.equal((await sound.run()).outcome, 'done');
  assert.deepEqual(sound.done, ['read-only d:1', 'follow a:1 d:1']);
  for (const [{ done, run }, reason] of [
    [looked({ 'd:1': `${uuid}:1-10` }), /transactions that the primary has not/],
    [looked({ 'd:1': '' }), /no transactions at all/],
    [looked({}, 3), /server_id 3 of c:1/],
  ] as const) {
    assert.match((await run()).reason, reason);
    assert.deepEqual(done, []);
  }
});

test('a clone that failed, and a server that does not come back, are said as what they are', async () => {
  const failed = await stage({}, { cloneError: () => Promise.resolve('Failed: 1 disk full') }).run();
  assert.equal(failed.outcome, 'failed');
  assert.match(failed.reason, /disk full/);
  const away = await stage({}, { cloneError: () => Promise.reject(new Error('refused')) }).run();
  assert.equal(away.outcome, 'failed');
  assert.match(away.reason, /did not come back/);
  const broken = await stage({}, { clone: () => Promise.reject(new Error('no space')) }).run();
  assert.match(broken.reason, /no space/);
});

test("the commands for MariaDB name both machines, the donor's port and the admin account", () => {
  const input = { node: 'db2:3306', donor: 'db3:3307', donorIsPrimary: true, user: 'evenkeel', added: false };
  const text = mariadbProcedure(input).join('\n');
  assert.match(text, /on db3:\n.*\n.*--port=3307 --user=evenkeel --password \| ssh db2 mbstream/);
  // Held still until it has its position; its log knows who wrote before, as of before the backup.
  assert.match(
    text,
    /maintenance db2:3306 --for.*SELECT @@gtid_binlog_state.*--backup.*RESET MASTER; SET GLOBAL gtid_binlog_state=.*gtid_slave_pos=.*maintenance db2:3306 --end/s,
  );
  const added = mariadbProcedure({ ...input, added: true }).join('\n');
  assert.match(added, /gtid_slave_pos=.*evenkeel add-node db2:3306 --keep-data/s);
  assert.doesNotMatch(added, /maintenance/);
  // A replica's position is in its data, and what the backup tells of it may be older.
  const replica = mariadbProcedure({ ...input, donorIsPrimary: false }).join('\n');
  assert.match(replica, /RESET MASTER; SET GLOBAL gtid_binlog_state='[^;]*'"\n.*leave it as it is/);
  assert.doesNotMatch(replica, /gtid_slave_pos=/);
});
