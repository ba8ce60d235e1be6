// The failure detector: single cases first, then thousands of simulated schedules with loss, delay and partitions.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type DetectorEvent,
  type DetectorSettings,
  type DetectorState,
  detect,
  newDetector,
  slowWitnesses,
} from '../../src/cluster/detector.ts';
import type { Reach } from '../../src/cluster/types.ts';
import fc from '../seed.ts';

const settings: DetectorSettings = { silentAfterMs: 1500, intervalMs: 100 };
const up: Reach = { state: 'up', rttMs: 1 };
const refused: Reach = { state: 'refused', error: 'connect ECONNREFUSED' };
const silent: Reach = { state: 'silent', error: 'no answer within 1000 ms' };

function run(...events: [at: number, event: DetectorEvent][]): DetectorState {
  return events.reduce((state, [at, event]) => detect(state, event, settings, at), newDetector(0));
}

const look = (reach: Reach, startedAt: number, fresh = true): DetectorEvent => ({
  type: 'look',
  fresh,
  startedAt,
  reach,
});
const closed: DetectorEvent = { type: 'closed', error: 'the server closed the connection' };
const hears = (receiver: 'running' | 'connecting', heard: string, heartbeatMs = 500): DetectorEvent => ({
  type: 'replica',
  node: 'db2:3306',
  facts: { receiver, heard, heartbeatMs },
});

test('a closed connection is a doubt, and the next answer dispels it', () => {
  assert.equal(run([10, closed]).health.state, 'suspect');
  assert.equal(run([10, closed], [12, look(up, 11)]).health.state, 'alive');
});

test('an answer to a look that began before the doubt does not dispel it', () => {
  assert.equal(run([10, closed], [12, look(up, 9, false)]).health.state, 'suspect');
});

test('a replica whose receiver connects anew is waited for, until it knows', () => {
  const heard: [number, DetectorEvent][] = [
    [5, hears('running', '1', 30_000)],
    [1100, look(silent, 100, false)],
    [1200, look(silent, 200)],
    [1210, { type: 'receiver-restart', node: 'db2:3306', done: false }],
  ];
  const connecting = (startedAt: number, receiverError: string | null = null): DetectorEvent => ({
    type: 'replica',
    node: 'db2:3306',
    startedAt,
    facts: { receiver: 'connecting', receiverError, heard: '1', heartbeatMs: 30_000 },
  });
  const running: DetectorEvent = { ...hears('running', '2', 30_000), startedAt: 1230 } as DetectorEvent;
  const ordered: [number, DetectorEvent] = [1220, { type: 'receiver-restart', node: 'db2:3306', done: true }];
  const tick = (at: number): [number, DetectorEvent] => [at, { type: 'tick' }];
  const state = (...events: [number, DetectorEvent][]): string => run(...heard, ...events).health.state;
  assert.equal(state(ordered, [1230, connecting(1225)], tick(1600)), 'suspect');
  assert.equal(state(ordered, [1230, connecting(1225, 'refused')], tick(1600)), 'dead');
  // An error from before the order is not its answer, and one that never comes is not waited for.
  assert.equal(state(ordered, [1230, connecting(1215, 'old')], tick(1600)), 'suspect');
  assert.equal(state([1230, connecting(1225, 'old')], tick(1600)), 'suspect');
  assert.equal(state(ordered, [1230, connecting(1225)], tick(1960)), 'dead');
  assert.equal(state(ordered, [1250, running], tick(1600)), 'suspect');
  assert.deepEqual(run(...heard, ordered, [1250, running], tick(1600)).health, {
    state: 'suspect',
    since: 1100,
    reason: 'no answer for 1500 ms, but db2:3306 still hears it',
    heardBy: ['db2:3306'],
  });
});

test('a closed connection and a refused new one are a death where no replica contradicts', () => {
  assert.equal(run([10, closed], [12, look(refused, 11)]).health.state, 'dead');
});

test('a single refusal is a doubt only: it takes a second look', () => {
  assert.equal(run([12, look(refused, 11)]).health.state, 'suspect');
  assert.equal(run([12, look(refused, 11)], [40, look(refused, 39)]).health.state, 'dead');
});

test('a primary that said it shuts down and refuses everybody is left, though its replicas still hear it', () => {
  const hearsIt: [number, DetectorEvent] = [5, hears('running', '1')];
  const goodbye: [number, DetectorEvent] = [
    10,
    { type: 'evidence', kind: 'shutdown', detail: 'Server shutdown in progress' },
  ];
  const early = run(hearsIt, goodbye, [12, look(refused, 11)], [300, hears('running', '2')], [310, look(refused, 309)]);
  assert.equal(early.health.state, 'suspect');
  const late = run(hearsIt, goodbye, [12, look(refused, 11)], [300, hears('running', '2')], [313, look(refused, 311)]);
  assert.equal(late.health.state, 'dead');
  const answered = run(hearsIt, goodbye, [12, look(refused, 11)], [200, look(up, 190)], [313, look(refused, 311)]);
  assert.equal(answered.health.state, 'suspect');
});

test('while a replica still hears a primary that refuses us, it is not dead, and the reason says so', () => {
  const before: [number, DetectorEvent][] = [
    [5, hears('running', '1')],
    [10, closed],
    [12, look(refused, 11)],
  ];
  const doubted = run(...before);
  assert.equal(doubted.health.state, 'suspect');
  assert.match(doubted.health.state === 'suspect' ? doubted.health.reason : '', /db2:3306 still hears it/);
  assert.equal(run(...before, [20, hears('connecting', '1')]).health.state, 'dead');
});

test('a replica that cannot be asked keeps nobody alive', () => {
  const gone: DetectorEvent = { type: 'replica', node: 'db2:3306', facts: null };
  assert.equal(run([5, hears('running', '1')], [10, closed], [12, look(refused, 11)], [20, gone]).health.state, 'dead');
});

test('one look without an answer is a doubt, silence over old and new connections a death', () => {
  const first: [number, DetectorEvent][] = [[1000, look(silent, 0, false)]];
  assert.equal(run(...first).health.state, 'suspect');
  const both: [number, DetectorEvent][] = [...first, [1300, look(silent, 300)]];
  assert.equal(run(...both).health.state, 'suspect');
  assert.equal(run(...both, [1500, { type: 'tick' }]).health.state, 'dead');
});

test('time in which we were late is no silence of the primary, and no deafness of a replica', () => {
  const until = (at: number, lateMs: number) => {
    const looks: [number, DetectorEvent][] = [
      [0, look(up, 0)],
      [1200, look(silent, 200, false)],
      [1500, look(silent, 500)],
      [at, { type: 'tick', lateMs }],
    ];
    return run(...looks).health.state;
  };
  assert.equal(until(1510, 0), 'dead');
  assert.equal(until(1510, 1000), 'suspect');
  assert.equal(until(2490, 1000), 'suspect');
  assert.equal(until(2510, 1000), 'dead');
  const heard: [number, DetectorEvent][] = [
    [500, hears('running', '1', 100)],
    [1200, look(silent, 200, false)],
    [1500, look(silent, 500)],
  ];
  assert.equal(run(...heard, [1850, { type: 'tick' }]).health.state, 'dead');
  const { health } = run(...heard, [1850, { type: 'tick', lateMs: 200 }]);
  assert.ok(health.state === 'suspect' && health.heardBy?.includes('db2:3306'), JSON.stringify(health));
});

test('silence over the old connection alone is never a death', () => {
  const state = run([1000, look(silent, 0, false)], [2000, look(silent, 1000, false)], [9000, { type: 'tick' }]);
  assert.equal(state.health.state, 'suspect');
});

test('a server that lets nobody in lives', () => {
  const full: Reach = { state: 'denied', errno: 1040, error: 'Too many connections' };
  const state = run([10, closed], [12, look(full, 11)], [5000, look(full, 4999)], [9000, { type: 'tick' }]);
  assert.equal(state.health.state, 'alive');
});

test('a silent primary that a replica hears by heartbeats is not dead, however long it takes', () => {
  let state = newDetector(0);
  for (let at = 0; at < 20_000; at += 100) {
    state = detect(state, hears('running', String(Math.floor(at / 500))), settings, at);
    state = detect(state, look(silent, at - 50), settings, at);
    assert.notEqual(state.health.state, 'dead');
  }
});

test('a replica with rare heartbeats is named as a slow witness', () => {
  assert.deepEqual(slowWitnesses(run([5, hears('running', '1', 30_000)]), settings), ['db2:3306']);
  assert.deepEqual(slowWitnesses(run([5, hears('running', '1', 500)]), settings), []);
});

test('evidence from the data plane alone is a doubt', () => {
  const evidence: DetectorEvent = { type: 'evidence', kind: 'connection-lost', detail: 'ECONNRESET' };
  const many = Array.from({ length: 50 }, (_, at): [number, DetectorEvent] => [at, evidence]);
  assert.equal(run(...many).health.state, 'suspect');
  assert.equal(run(...many, [60, look(up, 55)]).health.state, 'alive');
});

// A simulated cluster: a primary that dies at some time or never, replicas that hear it over links of their own, and
// looks that are delayed or lost. Every schedule comes from one seed, which fast-check prints on failure.

interface World {
  /** When the primary dies, and how; null: never. */
  death: { at: number; how: 'kill' | 'freeze' } | null;
  replicas: number;
  /** Our link to the primary is cut for this while. */
  cut: { from: number; to: number } | null;
  /** Chance in a hundred that one look is lost though the link is up. */
  lossPercent: number;
  latencyMs: number[];
  luck: number[];
}

const DURATION_MS = 12_000;
const TIMEOUT_MS = 1000;

/** Runs the world; returns the times at which the verdict was `dead`. */
function simulate(world: World): number[] {
  let draw = 0;
  const pick = (list: number[]): number => list[draw++ % list.length] ?? 0;
  const queue: { at: number; event: DetectorEvent }[] = [];
  const alive = (at: number): boolean => world.death === null || at < world.death.at;
  const cut = (at: number): boolean => world.cut !== null && at >= world.cut.from && at < world.cut.to;

  const lookAt = (startedAt: number, fresh: boolean): void => {
    const latency = pick(world.latencyMs);
    const lost = pick(world.luck) < world.lossPercent;
    const answers = alive(startedAt + latency) && !cut(startedAt) && !lost && latency < TIMEOUT_MS;
    const refuses = !alive(startedAt) && world.death?.how === 'kill' && !cut(startedAt) && !lost;
    const [reach, after]: [Reach, number] = answers
      ? [up, latency]
      : refuses
        ? [refused, Math.min(latency, 50)]
        : [silent, TIMEOUT_MS];
    queue.push({ at: startedAt + after, event: look(reach, startedAt, fresh) });
  };
  for (let at = 0; at < DURATION_MS; at += 100) {
    lookAt(at, at % 200 === 0);
    queue.push({ at, event: { type: 'tick' } });
    for (let replica = 0; replica < world.replicas; replica++) {
      const heardUntil = world.death === null ? at : Math.min(at, world.death.at);
      const connected = alive(at - 20) || world.death?.how === 'freeze';
      const facts = {
        receiver: connected ? 'running' : 'connecting',
        heard: String(Math.floor(heardUntil / 500)),
        heartbeatMs: 500,
      } as const;
      queue.push({ at: at + 5, event: { type: 'replica', node: `r${replica}`, facts } });
    }
  }
  if (world.death?.how === 'kill') queue.push({ at: world.death.at + 1, event: closed });
  queue.sort((a, b) => a.at - b.at);
  let state = newDetector(0);
  const dead: number[] = [];
  for (const { at, event } of queue.filter((entry) => entry.at < DURATION_MS)) {
    state = detect(state, event, settings, at);
    if (state.health.state === 'dead') dead.push(at);
  }
  return dead;
}

const latencies = fc.array(fc.integer({ min: 0, max: 900 }), { minLength: 1, maxLength: 40 });
const luck = fc.array(fc.integer({ min: 0, max: 99 }), { minLength: 50, maxLength: 200 });
const cutAnywhere = fc.option(
  fc
    .tuple(fc.integer({ min: 0, max: 9000 }), fc.integer({ min: 100, max: 9000 }))
    .map(([from, ms]) => ({ from, to: from + ms })),
);

test('in 2000 schedules no primary is called dead while it answers, however slow and lossy the way to it', () => {
  fc.assert(
    fc.property(latencies, luck, fc.integer({ min: 0, max: 3 }), (latencyMs, draws, replicas) => {
      const dead = simulate({ death: null, replicas, cut: null, lossPercent: 10, latencyMs, luck: draws });
      // With one look in ten lost at random, a run of losses as long as silentAfterMs must be told apart by replicas.
      if (replicas > 0) assert.deepEqual(dead, []);
    }),
    { numRuns: 2000 },
  );
});

test('in 2000 schedules without loss no primary is called dead, even with no replica to ask', () => {
  fc.assert(
    fc.property(latencies, luck, (latencyMs, draws) => {
      assert.deepEqual(simulate({ death: null, replicas: 0, cut: null, lossPercent: 0, latencyMs, luck: draws }), []);
    }),
    { numRuns: 2000 },
  );
});

test('in 2000 schedules a primary cut off from us only is never called dead while replicas hear it', () => {
  fc.assert(
    fc.property(latencies, luck, fc.integer({ min: 1, max: 3 }), cutAnywhere, (latencyMs, draws, replicas, cut) => {
      assert.deepEqual(simulate({ death: null, replicas, cut, lossPercent: 0, latencyMs, luck: draws }), []);
    }),
    { numRuns: 2000 },
  );
});

test('in 2000 schedules a dead primary is called dead in time: a killed one at once, a frozen one within 2 s', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 20 }),
      fc.constantFrom('kill' as const, 'freeze' as const),
      fc.integer({ min: 1500, max: 6000 }),
      fc.integer({ min: 0, max: 3 }),
      (latencyMs, how, at, replicas) => {
        const dead = simulate({ death: { at, how }, replicas, cut: null, lossPercent: 0, latencyMs, luck: [50] });
        const boundMs = how === 'kill' ? 300 : 2000;
        assert.ok((dead[0] ?? Number.POSITIVE_INFINITY) <= at + boundMs, `${how} at ${at}, dead at ${dead[0]}`);
        assert.ok((dead[0] ?? 0) >= at, 'not before it died');
      },
    ),
    { numRuns: 2000 },
  );
});
