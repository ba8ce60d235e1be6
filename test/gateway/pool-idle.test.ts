// Free connections are closed by us, not by the server: a write that met the server's closing one would be of unknown outcome.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { AT_LOGIN, changed } from '../../src/gateway/link-state.ts';
import type { LinkOwner, NodePool } from '../../src/gateway/pool.ts';
import type { ServerConnection } from '../../src/gateway/server-connection.ts';
import { FakeServer, profile, until } from './fake-server.ts';
import { poolOn } from './pool-stage.ts';

let server: FakeServer;
let pool: NodePool;
let nowMs = 0;

beforeEach(async () => {
  server = new FakeServer();
  await server.listen();
  nowMs = performance.now();
  pool = poolOn(server, 3, () => nowMs);
});

afterEach(async () => {
  pool.closeAll();
  await server.close();
});

const owner: LinkOwner = { linkLost: () => {}, giveWay: () => false };

/** A connection whose session has set wait_timeout, still held. */
async function heldWith(waitTimeout: string | null): Promise<ServerConnection> {
  let held: ServerConnection | null = null;
  pool.wait({
    lane: pool.lane(profile('app'), 'app'),
    wanted: AT_LOGIN,
    shareable: false,
    expectedUs: -1,
    prefer: null,
    group: '',
    deadlineMs: Number.POSITIVE_INFINITY,
    owner,
    onLink: (link) => {
      held = link;
    },
    onLoss: () => {},
    onTimeout: () => {},
  });
  await until('a connection', () => held !== null);
  const link = held as unknown as ServerConnection;
  if (waitTimeout !== null) link.state = changed(AT_LOGIN, { variables: new Map([['wait_timeout', waitTimeout]]) });
  return link;
}

const open = (): number => pool.report().open;

test('a connection whose session set a wait_timeout is closed at half of it, though it is the last of its account', async () => {
  pool.release(await heldWith('10'), true);
  nowMs += 4000;
  pool.trim();
  assert.equal(open(), 1, 'it may still be used');
  nowMs += 1500;
  pool.trim();
  await until('it is closed', () => server.connections[0]?.open === false);
});

test('a connection with a wait_timeout of few seconds is not kept at all when it is given back', async () => {
  const link = await heldWith('1');
  assert.equal(open(), 1, 'its own session has it for as long as it needs it');
  pool.release(link, true);
  assert.equal(open(), 0);
  await until('it is closed', () => server.open.length === 0);
});

test('the last connection of an account is kept where its session left wait_timeout as it was, or raised it', async () => {
  pool.release(await heldWith(null), true);
  nowMs += 100_000;
  pool.trim();
  assert.equal(open(), 1);
  pool.release(await heldWith('28800'), true);
  nowMs += 100_000;
  pool.trim();
  assert.equal(open(), 1);
});
