// At each limit of a pool new work waits, or is refused by name, and what was there goes on. The clock is the test's.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { AT_LOGIN } from '../../src/gateway/link-state.ts';
import type { Lane, LinkOwner, NodePool, PoolLimits } from '../../src/gateway/pool.ts';
import type { ServerConnection } from '../../src/gateway/server-connection.ts';
import type { ErrPacket } from '../../src/wire/index.ts';
import { FakeServer, profile, until } from './fake-server.ts';
import { poolOn } from './pool-stage.ts';

let server: FakeServer;
let pool: NodePool;
let nowMs = 1_000_000;

beforeEach(async () => {
  server = new FakeServer();
  await server.listen();
});

afterEach(async () => {
  pool.closeAll();
  await server.close();
});

const OWNER: LinkOwner = { giveWay: () => false, linkLost: () => {} };

interface Asked {
  link: ServerConnection | null;
  error: ErrPacket | null;
}

/** Asks for a connection of its own. */
function ask(lane: Lane, waitMs = Number.POSITIVE_INFINITY): Asked {
  const asked: Asked = { link: null, error: null };
  pool.wait({
    lane,
    wanted: AT_LOGIN,
    shareable: false,
    expectedUs: -1,
    prefer: null,
    group: '',
    deadlineMs: nowMs + waitMs,
    owner: OWNER,
    onLink: (link) => {
      asked.link = link;
    },
    onLoss: () => {},
    onTimeout: (error) => {
      asked.error = error;
    },
  });
  return asked;
}

function stage(maxConnections: number, limits: Partial<PoolLimits>): Lane {
  pool = poolOn(server, maxConnections, () => nowMs, limits);
  return pool.lane(profile('app'), 'app');
}

const served = (all: Asked[]): number => all.filter(({ link }) => link !== null).length;

test('no more logins are under way than maxConnecting; the others follow', async () => {
  server.holdsLogins = true;
  const lane = stage(10, { maxConnecting: 2 });
  const all = Array.from({ length: 5 }, () => ask(lane));
  await until('two logins', () => server.connections.length === 2);
  pool.tick();
  assert.equal(server.connections.length, 2);
  for (let at = 0; at < 5; at++) {
    await until('another login', () => server.connections.length > at);
    assert.ok(server.connections.length <= at + 2);
    server.connections[at]?.letIn();
    await until('one more to be served', () => served(all) === at + 1);
  }
});

test('no more connections are opened in a second than connectRate; the others follow', async () => {
  const lane = stage(20, { connectRate: 3 });
  const all = Array.from({ length: 8 }, () => ask(lane));
  await until('the first', () => served(all) === 3);
  pool.tick();
  assert.equal(pool.report().opened, 3);
  nowMs += 1000;
  pool.tick();
  await until('the next', () => served(all) === 6);
  assert.equal(pool.report().opened, 6);
  nowMs += 1000;
  pool.tick();
  await until('the last', () => served(all) === 8);
});

test('who waits for longer than it may is refused by name, and who has a connection keeps it', async () => {
  const lane = stage(1, {});
  const first = ask(lane);
  await until('the first', () => first.link !== null);
  const [hurried, patient] = [ask(lane, 100), ask(lane, 1000)];
  nowMs += 101;
  pool.tick();
  assert.equal(hurried.error?.errno, 9103);
  assert.match(hurried.error?.message ?? '', /pool-timeout; not executed/);
  assert.equal(patient.error, null);
  assert.equal(first.link?.ready, true);
  pool.release(first.link, true);
  assert.equal(patient.link, first.link);
});

test('one more than may wait is refused at once; those that wait are served', async () => {
  const lane = stage(1, { maxWaiting: 2 });
  const first = ask(lane);
  await until('the first', () => first.link !== null);
  const waiting = [ask(lane), ask(lane)];
  const refused = ask(lane);
  assert.equal(refused.error?.errno, 9103);
  for (const each of waiting) assert.equal(each.error, null);
  pool.release(first.link as ServerConnection, true);
  assert.equal(waiting[0]?.link, first.link);
});

test('a connection is closed when it is idle for too long, down to those that are kept, and when it is old', async () => {
  const lane = stage(5, { idleTimeoutMs: 1000, minConnections: 1, maxLifetimeMs: 100_000 });
  const all = Array.from({ length: 3 }, () => ask(lane));
  await until('all are served', () => served(all) === 3);
  const [held, ...others] = all.map(({ link }) => link as ServerConnection);
  for (const link of others) pool.release(link, true);
  nowMs += 1001;
  pool.trim();
  await until('the idle ones to end', () => server.open.length === 1);
  assert.equal(pool.report().closed.idle, 2);
  nowMs += 111_000; // a tenth above the lifetime
  pool.trim();
  assert.equal(held?.ready, true, 'what is in use is not closed');
  pool.release(held, true);
  assert.equal(held?.ready, false);
  assert.equal(pool.report().closed.lifetime, 1);
});
