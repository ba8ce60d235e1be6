// How often one node is looked at, and what it is asked: a stand-in answers, and the clock moves when the test says so.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { LookBudget } from '../../src/cluster/pace.ts';
import type { NodeObservation } from '../../src/cluster/types.ts';
import { unobserved } from '../../src/cluster/view.ts';
import { NodeWatcher } from '../../src/cluster/watcher.ts';
import { StandIn } from '../support/stand-in.ts';

const INTERVAL_MS = 100;

const node = new StandIn('8.0.36', (statement) => {
  if (statement.startsWith('SELECT VERSION()')) return [{ version: '8.0.36', now: 1_000_000 }];
  if (statement.includes('@@global.gtid_executed')) return [{ read_only: 0, server_id: 1, gtid_executed: '' }];
  return /^(?:SHOW|SELECT)/i.test(statement) ? [] : null;
});

before(() => node.start());
after(() => node.stop());

interface Looked {
  atMs: number;
  observation: NodeObservation;
  news: boolean;
}

/** A watcher of the stand-in among `nodes` nodes, and a way to let time pass: whatever is due happens, one after the other. */
function watched(nodes: number) {
  const budget = new LookBudget();
  for (let i = 1; i < nodes; i++) budget.joined();
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
  watcher.pace = 'steady';
  watcher.calm = true;
  await begin();
  for (let n = 1; n <= 20; n++) {
    const { atMs, news } = await next();
    assert.deepEqual([atMs, news], [n * INTERVAL_MS, true]);
  }
  watcher.stop();
});

test('of many, a calm primary shows every time that it lives, and tells its facts every other second', async () => {
  const { watcher, begin, next } = watched(1000);
  watcher.pace = 'steady';
  watcher.calm = true;
  await begin();
  const told: number[] = [];
  for (let n = 1; n <= 100; n++) {
    const { atMs, news, observation } = await next();
    assert.equal(atMs, n * INTERVAL_MS);
    assert.equal(observation.reach.state, 'up');
    assert.ok(observation.facts, 'what was told before is kept');
    if (news) told.push(atMs);
  }
  assert.deepEqual(told, [2000, 4000, 5000, 7000, 9000, 10_000], 'and in full every five');
  watcher.stop();
});

test('of many, a calm replica is left in peace, until something happens', async () => {
  const { watcher, begin, next } = watched(1000);
  watcher.calm = true;
  await begin();
  assert.deepEqual([(await next()).atMs, (await next()).atMs], [2000, 4000]);
  watcher.calm = false;
  await next(); // this one was waiting already
  assert.deepEqual([(await next()).atMs, (await next()).news], [6100, true]);
  watcher.pace = 'doubt';
  const { atMs } = await next();
  assert.equal((await next()).atMs, atMs + INTERVAL_MS / 4);
  watcher.stop();
});

test('who is hurried tells everything at once', async () => {
  const { watcher, looks, begin, next } = watched(1000);
  watcher.pace = 'steady';
  watcher.calm = true;
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
  watcher.pace = 'steady';
  watcher.calm = true;
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
  assert.equal(budget.factsEveryMs(INTERVAL_MS), 198);
  await begin();
  assert.equal(budget.factsEveryMs(INTERVAL_MS), 200);
  watcher.stop();
  watcher.stop();
  assert.equal(budget.factsEveryMs(INTERVAL_MS), 198);
  assert.equal(budget.fullEveryMs(), 1000);
});
