// At the limit of a node's connections, accounts and dialects (lanes) take turns: each has connections that are of no use
// to the others, and one that has none gets one, however busy the others are.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { AT_LOGIN } from '../../src/gateway/link-state.ts';
import type { Lane, LinkOwner, LinkRequest, NodePool } from '../../src/gateway/pool.ts';
import type { ServerConnection } from '../../src/gateway/server-connection.ts';
import { FakeServer, profile, until } from './fake-server.ts';
import { poolOn } from './pool-stage.ts';

let server: FakeServer;
let pool: NodePool;

beforeEach(async () => {
  server = new FakeServer();
  await server.listen();
  pool = poolOn(server, 1);
});

afterEach(async () => {
  pool.closeAll();
  await server.close();
});

/** Waits for a connection, and gives it back in the next turn. */
class Worker implements LinkOwner {
  served = 0;
  readonly lane: Lane;
  readonly group: string;

  constructor(lane: Lane, group: string) {
    this.lane = lane;
    this.group = group;
  }

  ask(again: () => boolean): void {
    const request: LinkRequest = {
      lane: this.lane,
      wanted: AT_LOGIN,
      shareable: false,
      expectedUs: -1,
      prefer: null,
      group: this.group,
      deadlineMs: Number.POSITIVE_INFINITY,
      owner: this,
      onLink: (link) => this.#take(link, again),
      onLoss: () => {},
      onTimeout: () => {},
    };
    pool.wait(request);
  }

  #take(link: ServerConnection, again: () => boolean): void {
    this.served++;
    setImmediate(() => {
      if (again()) this.ask(again); // before it gives its own back: somebody of its lane always waits
      pool.release(link, true);
    });
  }

  giveWay(): boolean {
    return false;
  }

  linkLost(): void {}
}

test('requests of several lanes behind one another are all served over one connection at a time', async () => {
  const lanes = ['a', 'b', 'c'].map((name) => pool.lane(profile(name), name));
  // The first that waits is of the last lane that is looked at.
  const workers = [2, 1, 0, 2, 0].map((at) => new Worker(lanes[at] as Lane, `endpoint ${at}`));
  for (const worker of workers) worker.ask(() => false);
  await until('all are served', () => workers.every(({ served }) => served === 1));
  assert.ok(pool.report().opened <= 5, `${pool.report().opened} connections were opened for five requests`);
});

test('a lane without a connection gets one though another always has somebody waiting', async () => {
  const busy = pool.lane(profile('busy'), 'busy');
  let stop = false;
  const workers = Array.from({ length: 4 }, () => new Worker(busy, 'busy'));
  for (const worker of workers) worker.ask(() => !stop);
  await until('it is at work', () => (workers[0] as Worker).served > 0);
  const late = new Worker(pool.lane(profile('late'), 'late'), 'late');
  late.ask(() => false);
  const ticks = setInterval(() => pool.tick(), 20);
  try {
    await until('the other one is served', () => late.served === 1);
    const then = workers.reduce((sum, { served }) => sum + served, 0);
    await until('the first goes on', () => workers.reduce((sum, { served }) => sum + served, 0) > then);
  } finally {
    stop = true;
    clearInterval(ticks);
  }
});
