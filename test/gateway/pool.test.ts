// The pool under simulation: thousands of schedules of everything that clients, servers and time may do to it, each
// decided by one seed. EVENKEEL_SEED=n runs that one alone.
import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { AT_LOGIN } from '../../src/gateway/link-state.ts';
import { randomOf } from '../support/random.ts';
import type { Wish, WishGiven } from './pool-actors.ts';
import { World, type WorldOptions } from './pool-world.ts';

const SCHEDULES = 1200;
const STEPS = 150;
const only = process.env['EVENKEEL_SEED'];
const seeds = only === undefined ? Array.from({ length: SCHEDULES }, (_, index) => index + 1) : [Number(only)];

function optionsOf(random: () => number): WorldOptions {
  const pick = <T>(...from: [T, ...T[]]): T => from[Math.floor(random() * from.length)] ?? from[0];
  return {
    limits: {
      maxConnections: pick(1, 2, 3, 5, 12),
      maxConnecting: pick(1, 2, 10),
      connectRate: pick(1, 5, 100, 1000),
      maxWaiting: pick(3, 20, 100),
      idleTimeoutMs: pick(500, 5000),
      minConnections: pick(0, 1, 2),
      maxLifetimeMs: pick(3000, 60_000),
    },
    lanes: pick(1, 1, 2, 3),
    groupsPerLane: pick(1, 2, 3),
    reads: pick(0, 50, 80, 100),
  };
}

test('over thousands of schedules: in one place each, within the limits, in turn, and nobody is forgotten', (t) => {
  for (const seed of seeds) {
    const random = randomOf(seed * 7919);
    const dice = mock.method(Math, 'random', random);
    try {
      const world = new World(optionsOf(random), random);
      for (let step = 0; step < STEPS; step++) world.step();
      world.finish();
    } catch (error) {
      t.diagnostic(`EVENKEEL_SEED=${seed}`);
      throw new assert.AssertionError({
        message: `EVENKEEL_SEED=${seed}: ${error instanceof Error ? error.stack : String(error)}`,
      });
    } finally {
      dice.mock.restore();
    }
  }
});

test('a read that found too much queued goes on as soon as an answer has come', () => {
  const world = worldOf(1);
  const reads = [1, 2, 3].map(() => world.ask(BUSY, { ...READ, expectedUs: 1500 }));
  world.logIn();
  assert.deepEqual(
    reads.map(({ at }) => at),
    ['served', 'served', 'waiting'],
  );
  world.of('shared')[0]?.answer(1);
  assert.ok(served(reads[2] as Wish));
});

test('what clients had at the primary is opened at its successor before they ask, within the limits, and no more', () => {
  const world = worldOf(3);
  world.openAhead(BUSY, 2);
  assert.equal(world.of('connecting').length, 2);
  assert.ok(world.pool.opensAhead);
  world.logIn();
  assert.ok(!world.pool.opensAhead);
  assert.ok(served(world.ask(BUSY, OWN)) && served(world.ask(BUSY, OWN)), 'nobody waits for a login');
  world.openAhead(OTHER, 5);
  assert.equal(world.of('connecting').length, 1, 'as many as there may be');
  world.of('connecting')[0]?.lose({ kind: 'connect-failed', detail: 'no route' });
  world.now += 20;
  world.pool.tick();
  assert.equal(world.of('connecting').length, 0, 'not tried again');
  world.check();
});

test('whoever waits comes before what is opened ahead', () => {
  const world = worldOf(2);
  const first = world.ask(OTHER, OWN);
  world.openAhead(BUSY, 2);
  assert.deepEqual(
    world.of('connecting').map(({ lane }) => lane),
    [world.lane(OTHER)],
  );
  world.logIn();
  assert.ok(served(first));
  world.pool.tick();
  assert.deepEqual(
    world.of('connecting').map(({ lane }) => lane),
    [world.lane(BUSY)],
  );
});

// ---- nobody starves beside others who never pause -------------------------------------------------------------------

const FOREVER = { deadlineMs: Number.POSITIVE_INFINITY, wanted: AT_LOGIN, yields: 'never' } as const;
const READ: Partial<WishGiven> = { ...FOREVER, shareable: true, expectedUs: 20 };
const OWN: Partial<WishGiven> = { ...FOREVER, shareable: false };
/** Reads whose answers come one at a time, another being asked before each: their connections are never empty. */
const BUSY = 0;
const OTHER = 1;

function worldOf(maxConnections: number): World {
  const limits = {
    maxConnections,
    maxConnecting: 10,
    connectRate: 1000,
    maxWaiting: 100,
    idleTimeoutMs: 60_000,
    minConnections: 1,
    maxLifetimeMs: 600_000,
  };
  return new World({ limits, lanes: 2, groupsPerLane: 1, reads: 50 }, () => 0.5);
}

/** Reads of these lanes go on without a pause until `done`; false: it is not in time. */
function readsGoOn(world: World, done: () => boolean, lanes = [BUSY], slow: Wish | null = null): boolean {
  for (let round = 0; round < 2000 && !done(); round++) {
    world.logIn();
    for (const lane of lanes) {
      const under = world.wishes.filter(
        (wish) => wish.lane === world.lane(lane) && wish.shareable && (wish.at === 'waiting' || wish.at === 'served'),
      );
      for (let n = under.length; n < 8; n++) world.ask(lane, READ);
    }
    for (const link of world.of('shared')) {
      const lane = lanes.find((each) => world.lane(each) === link.lane);
      if (lane === undefined || (slow !== null && link.exchanges[0]?.wish === slow)) continue;
      world.ask(lane, READ);
      link.answer(1);
    }
    world.check();
    world.now += 5;
    if (round % 4 === 0) world.pool.tick();
  }
  return done();
}

const served = (wish: Wish): boolean => wish.at === 'served';

describe('beside reads that never leave a connection empty', () => {
  for (const maxConnections of [1, 2, 4]) {
    test(`of ${maxConnections}: who needs one of his own gets one of their account's`, () => {
      const world = worldOf(maxConnections);
      readsGoOn(world, () => world.of('shared').length === maxConnections);
      const own = world.ask(BUSY, OWN);
      assert.ok(readsGoOn(world, () => served(own)));
    });

    for (const [what, given] of [
      ['a statement', OWN],
      ['a read', READ],
    ] as const) {
      test(`of ${maxConnections}: ${what} of another account gets one`, () => {
        const world = worldOf(maxConnections);
        readsGoOn(world, () => world.of('shared').length === maxConnections);
        const other = world.ask(OTHER, given);
        assert.ok(readsGoOn(world, () => served(other)));
      });
    }
  }

  test('a slow statement elsewhere is not what the one who needs a connection waits for', () => {
    const world = worldOf(3);
    // The lane of the slow one is looked at first.
    world.lane(OTHER);
    const slow = world.ask(OTHER, READ);
    world.logIn();
    assert.ok(served(slow));
    readsGoOn(world, () => world.of('shared').length === 3);
    const own = world.ask(BUSY, OWN);
    assert.ok(readsGoOn(world, () => served(own)));
    assert.ok(served(slow), 'the slow one is still at work');
  });

  for (const known of [true, false]) {
    test(`a slow statement of the same account neither, ${known ? 'known' : 'not yet known'} as such`, () => {
      const world = worldOf(3);
      // Too much to be queued on one connection.
      const [slow] = [1, 2, 3].map(() => world.ask(BUSY, { ...READ, expectedUs: 3000 })) as [Wish];
      world.logIn();
      assert.equal(world.of('shared').length, 3);
      if (known) readsGoOn(world, () => world.now > 2000, [BUSY], slow);
      const own = world.ask(BUSY, OWN);
      assert.ok(readsGoOn(world, () => served(own), [BUSY], slow));
      assert.ok(served(slow), 'the slow one is still at work');
    });
  }

  test('nor is it the pause of another account whose reads go on as well', () => {
    const world = worldOf(2);
    const both = [OTHER, BUSY];
    for (const lane of both) world.lane(lane);
    readsGoOn(world, () => world.of('shared').length === 2 && world.lane(BUSY).members === 1, both);
    const own = world.ask(BUSY, OWN);
    assert.ok(readsGoOn(world, () => served(own), both));
  });
});

test('an account that has fewer connections, all in long transactions, gets one more, and nothing goes to and fro', () => {
  const world = worldOf(4);
  world.ask(OTHER, OWN);
  world.logIn();
  /** Statements of the other account, of which some always wait. */
  const goOn = (until: number): void => {
    for (; world.now < until; world.now += 5) {
      world.logIn();
      const waiting = (): number => world.waiting().filter((wish) => wish.lane === world.lane(BUSY)).length;
      while (waiting() < 4) world.ask(BUSY, OWN);
      for (const { holder, lane } of world.of('held'))
        if (lane === world.lane(BUSY)) world.giveBack(holder as Wish, true);
      world.check();
      world.pool.tick();
    }
  };
  goOn(2000);
  assert.equal(world.lane(BUSY).members, 3);
  const opened = world.opens.length;
  const others = [world.ask(OTHER, READ), world.ask(OTHER, OWN)];
  goOn(2900);
  assert.equal(world.opens.length, opened, 'a connection is not taken away at once');
  goOn(8000);
  assert.equal(others.filter(served).length, 1);
  assert.equal(world.lane(BUSY).members, 2);
  assert.equal(world.opens.length, opened + 1);
});

test('accounts that all have waited for long do not take a connection from each other before anybody is served', () => {
  const world = worldOf(1);
  const wishes = [2, 1, 0, 2, 0].map((lane) => world.ask(lane, OWN));
  for (let round = 0; round < 50; round++) {
    world.now += 100; // a login takes longer than anybody is to starve
    world.logIn();
    for (const { holder } of world.of('held')) world.giveBack(holder as Wish, true);
    world.check();
  }
  assert.ok(wishes.every(({ at }) => at === 'done'));
  assert.ok(world.opens.length <= wishes.length, `${world.opens.length} connections were opened`);
});
