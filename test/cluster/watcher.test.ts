// How often one node is looked at, and what it is asked: a stand-in answers, and the clock moves when the test says so.
import assert from 'node:assert/strict';
import { type AddressInfo, createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { monitorClock, OwnDelay } from '../../src/cluster/clock.ts';
import { LookBudget } from '../../src/cluster/pace.ts';
import type { NodeObservation } from '../../src/cluster/types.ts';
import { unobserved } from '../../src/cluster/view.ts';
import { NodeWatcher } from '../../src/cluster/watcher.ts';
import { freePorts } from '../../src/sandbox/index.ts';
import { StandIn } from '../support/stand-in.ts';

const INTERVAL_MS = 100;

const node = new StandIn('8.0.36', (statement) => {
  if (statement.startsWith('SELECT VERSION()')) return [{ version: '8.0.36', now: 1_000_000 }];
  if (statement.includes('@@global.gtid_executed')) return [{ read_only: 0, server_id: 1, gtid_executed: '' }];
  return /^(?:SHOW|SELECT)/i.test(statement) ? [] : null;
});

before(async () => {
  // It comes back at the same one.
  [node.port = 0] = await freePorts(1);
  await node.start();
});
after(() => node.stop());

interface Looked {
  atMs: number;
  observation: NodeObservation;
  news: boolean;
}

/** A watcher of the stand-in among `nodes` nodes, and a way to let time pass: whatever is due happens, one after the other. */
function watched(nodes: number) {
  const budget = new LookBudget();
  for (let i = 1; i < nodes; i++) budget.move(null, 'calm');
  let [nowMs, nextId] = [0, 1];
  const timers = new Map<number, { atMs: number; callback: () => void }>();
  const looks: Looked[] = [];
  let looked = (): void => {};
  const clock = {
    nowMs: () => nowMs,
    setTimeout: (callback: () => void, ms: number) => {
      const id = nextId++;
      timers.set(id, { atMs: nowMs + ms, callback });
      return () => timers.delete(id);
    },
  };
  const address = `127.0.0.1:${node.port}`;
  const tls = { mode: 'off' as const };
  const connect = { node: address, user: 'evenkeel', password: 'x', tls };
  const settings = { connect, clock, intervalMs: INTERVAL_MS, timeoutMs: 5000, claim: null, budget };
  const hooks = {
    onLook: ({ observation, news }: { observation: NodeObservation; news: boolean }) => {
      looks.push({ atMs: nowMs, observation, news });
      looked();
    },
    onClosed: () => {},
  };
  const watcher = new NodeWatcher(address, settings, hooks, unobserved(address));
  const look = (): Promise<void> => new Promise((resolve) => (looked = resolve));
  return {
    watcher,
    looks,
    budget,
    begin: async (): Promise<void> => {
      const first = look();
      watcher.start();
      await first;
    },
    /** The next look, and everything up to it. */
    next: async (): Promise<Looked> => {
      // The watcher goes on in the turns after its report.
      while (timers.size === 0) await new Promise((resolve) => setImmediate(resolve));
      const [id, timer] = [...timers].sort(([, a], [, b]) => a.atMs - b.atMs)[0] ?? [
        0,
        { atMs: 0, callback: () => {} },
      ];
      timers.delete(id);
      nowMs = timer.atMs;
      const ended = look();
      timer.callback();
      await ended;
      const last = looks.at(-1);
      assert.ok(last);
      return last;
    },
  };
}

test('few nodes are asked for their facts every time', async () => {
  const { watcher, begin, next } = watched(3);
  watcher.goAt('steady', true);
  await begin();
  for (let n = 1; n <= 20; n++) {
    const { atMs, news } = await next();
    assert.deepEqual([atMs, news], [n * INTERVAL_MS, true]);
  }
  watcher.stop();
});

test('of many, a calm primary shows every time that it lives, and tells its facts every few seconds', async () => {
  const { watcher, begin, next } = watched(1000);
  watcher.goAt('steady', true);
  await begin();
  const told: number[] = [];
  for (let n = 1; n <= 100; n++) {
    const { atMs, news, observation } = await next();
    assert.equal(atMs, n * INTERVAL_MS);
    assert.equal(observation.reach.state, 'up');
    assert.ok(observation.facts, 'what was told before is kept');
    if (news) told.push(atMs);
  }
  assert.deepEqual(told, [2500, 5000, 6700, 9200], 'and in full every seven');
  watcher.stop();
});

test('of many, a calm replica is left in peace, until something happens', async () => {
  const { watcher, looks, begin, next } = watched(1000);
  watcher.goAt('patient', true);
  await begin();
  assert.deepEqual([(await next()).atMs, (await next()).atMs], [2500, 5000]);
  const seen = looks.length;
  watcher.goAt('patient', false);
  while (looks.length === seen) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([looks[seen]?.atMs, looks[seen]?.news], [5000, true], 'at once');
  assert.equal((await next()).atMs, 5000 + INTERVAL_MS);
  watcher.goAt('doubt', false);
  while (looks.length === seen + 2) await new Promise((resolve) => setImmediate(resolve));
  assert.equal((await next()).atMs, 5000 + INTERVAL_MS + INTERVAL_MS / 4);
  watcher.stop();
});

test('who is hurried tells everything at once', async () => {
  const { watcher, looks, begin, next } = watched(1000);
  watcher.goAt('steady', true);
  await begin();
  assert.equal((await next()).news, false);
  const seen = looks.length;
  while (looks.length === seen) {
    watcher.hurry();
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual([looks[seen]?.atMs, looks[seen]?.news], [INTERVAL_MS, true]);
  watcher.stop();
});

test('a primary that does not answer a ping is looked at over a new connection', async () => {
  const { watcher, looks, begin, next } = watched(1000);
  watcher.goAt('steady', true);
  await begin();
  assert.equal((await next()).news, false);
  await node.stop();
  while (looks.at(-1)?.observation.reach.state === 'up') await new Promise((resolve) => setImmediate(resolve));
  assert.equal(looks.at(-1)?.observation.reach.state, 'refused');
  await node.start();
  watcher.stop();
});

test('nodes that are not looked at any more leave room for the others', async () => {
  const { watcher, budget, begin } = watched(100);
  watcher.goAt('patient', true);
  assert.equal(budget.everyMs('calm', INTERVAL_MS), 247.5);
  await begin();
  assert.equal(budget.everyMs('calm', INTERVAL_MS), 250);
  watcher.goAt('steady', true);
  for (let i = 0; i < 399; i++) budget.ping(1);
  assert.equal(budget.pingEveryMs(INTERVAL_MS), 200);
  watcher.stop();
  watcher.stop();
  assert.equal(budget.pingEveryMs(INTERVAL_MS), 199.5);
  assert.equal(budget.everyMs('calm', INTERVAL_MS), 247.5);
  assert.equal(budget.fullEveryMs(), 1000);
});

test('so many nodes in doubt at once are looked at as often as one process can', () => {
  const budget = new LookBudget();
  for (let i = 0; i < 3000; i++) budget.move(null, 'doubt');
  assert.equal(budget.everyMs('doubt', 25), 2000);
  assert.equal(budget.everyMs('awake', INTERVAL_MS), INTERVAL_MS);
  assert.equal(budget.fullEveryMs(), 20_000);
});

test('connections are made a few at a time, but for those that a primary in doubt needs', async () => {
  const budget = new LookBudget();
  const begun: number[] = [];
  const ends: (() => void)[] = [];
  const open = (n: number) => () => {
    begun.push(n);
    return new Promise<void>((resolve) => ends.push(resolve));
  };
  const all = Array.from({ length: 40 }, (_, n) => budget.opening('awake', open(n)));
  assert.equal(begun.length, 32);
  all.push(budget.opening('doubt', open(100)));
  assert.deepEqual(begun.slice(32), [100]);
  for (let turn = 0; ends.length > 0; turn++) {
    for (const end of ends.splice(0)) end();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(all);
  assert.deepEqual(begun.slice(33), [32, 33, 34, 35, 36, 37, 38, 39]);
});

test('a look that had no time because this process was late is no sign against a node, three in a row are', async () => {
  const deaf = createServer((socket) => socket.on('error', () => {}));
  await new Promise<void>((resolve) => deaf.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${(deaf.address() as AddressInfo).port}`;
  const looks: NodeObservation[] = [];
  let lateMs = 0;
  const clock = { ...monitorClock, lateMs: () => lateMs };
  const connect = { node: address, user: 'evenkeel', password: 'x', tls: { mode: 'off' as const } };
  const settings = { connect, clock, intervalMs: INTERVAL_MS, timeoutMs: 20, claim: null, budget: new LookBudget() };
  const hooks = {
    onLook: ({ observation }: { observation: NodeObservation }) => looks.push(observation),
    onClosed() {},
  };
  const watcher = new NodeWatcher(address, settings, hooks, unobserved(address));
  const look = async (): Promise<NodeObservation> => {
    const looking = watcher.lookNow();
    lateMs += 10;
    return await looking;
  };
  assert.equal((await look()).at, -1, 'as it was');
  assert.equal((await look()).at, -1);
  assert.equal((await look()).reach.state, 'silent');
  deaf.close();
});

test('how late a process is counts while it lasts, and is added up', () => {
  let [now, beat] = [0, (): void => {}];
  const delay = new OwnDelay(
    () => now,
    (callback) => (beat = callback),
  );
  now = 60;
  beat();
  assert.equal(delay.totalMs, 0, 'no more than usual');
  now = 1110;
  assert.equal(delay.totalMs, 1000);
  beat();
  assert.equal(delay.totalMs, 1000);
  now = 1160;
  beat();
  now = 1310;
  beat();
  assert.equal(delay.totalMs, 1100);
});
