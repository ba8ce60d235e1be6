// At the limit of a node's connections, those who hold one between statements are asked for it: no more of them than
// are waited for, and nobody where more can be opened.
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
  pool = poolOn(server, 3);
});

afterEach(async () => {
  pool.closeAll();
  await server.close();
});

/** Holds what it gets, and gives it back when it is asked to, if it is willing. */
class Holder implements LinkOwner {
  link: ServerConnection | null = null;
  asked = 0;
  readonly willing: boolean;

  constructor(willing: boolean) {
    this.willing = willing;
  }

  static async on(lane: Lane, willing: boolean): Promise<Holder> {
    const holder = new Holder(willing);
    pool.wait(holder.request(lane));
    await until('a connection', () => holder.link !== null);
    return holder;
  }

  request(lane: Lane): LinkRequest {
    return {
      lane,
      wanted: AT_LOGIN,
      shareable: false,
      expectedUs: -1,
      prefer: null,
      group: '',
      deadlineMs: Number.POSITIVE_INFINITY,
      owner: this,
      onLink: (link) => {
        this.link = link;
      },
      onLoss: () => {},
      onTimeout: () => {},
    };
  }

  giveWay(): boolean {
    this.asked++;
    const { link } = this;
    if (!this.willing || link === null) return false;
    this.link = null;
    pool.release(link, true);
    return true;
  }

  linkLost(): void {}
}

test('a full pool asks as many holders for their connections as others wait, and passes those over who cannot', async () => {
  const lane = pool.lane(profile('app'), 'app');
  const unwilling = await Holder.on(lane, false);
  const first = await Holder.on(lane, true);
  const second = await Holder.on(lane, true);
  pool.tick();
  assert.deepEqual([unwilling.asked, first.asked, second.asked], [0, 0, 0], 'nobody waits');
  const late = new Holder(false);
  pool.wait(late.request(lane));
  assert.equal(late.link, null);
  pool.tick();
  assert.notEqual(late.link, null);
  assert.deepEqual([unwilling.asked, first.asked, second.asked], [1, 1, 0]);
  assert.equal(server.open.length, 3);
});

test('nobody is asked where another connection can be opened', async () => {
  const lane = pool.lane(profile('app'), 'app');
  const holders = [await Holder.on(lane, true), await Holder.on(lane, true)];
  server.holdsLogins = true;
  const late = new Holder(false);
  pool.wait(late.request(lane));
  pool.tick();
  await until('a login', () => server.connections.length === 3);
  // The third is under way; a fourth would be one too many.
  const asked = holders.map((holder) => holder.asked);
  server.connections[2]?.letIn();
  await until('it to be given', () => late.link !== null);
  assert.deepEqual(asked, [0, 0]);
});

test('connections that are kept warm are not opened beyond the limit', async () => {
  const warm = pool.lane(profile('warm'), 'warm');
  const [own] = [await Holder.on(warm, true)];
  own?.giveWay();
  // Another account takes all there is, the one of the first included.
  const lane = pool.lane(profile('app'), 'app');
  for (let n = 0; n < 3; n++) await Holder.on(lane, false);
  assert.equal(warm.members, 0);
  for (let n = 0; n < 5; n++) pool.trim();
  assert.equal(pool.counts().connecting, 0);
  assert.equal(pool.counts().open, 3);
});
