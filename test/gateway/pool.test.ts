// The pool of one node's server connections, against a server that only lets in: how many there are, who gets one,
// whose is taken, and what becomes of those who wait.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LinkOwner, type LinkRequest, NodePool, type PoolLimits } from '../../src/gateway/pool.ts';
import type { Loss, ServerConnection } from '../../src/gateway/server-connection.ts';
import { FakeServer, profile, until } from './fake-server.ts';

const LIMITS: PoolLimits = {
  maxConnections: 2,
  maxConnecting: 2,
  connectTimeoutMs: 10_000,
  maxPacketBytes: 1 << 24,
  maxWaiting: 100,
  spareTimeoutMs: 1000,
};

/** A session as the pool sees it, and all that the pool ever told it. */
class Session implements LinkOwner {
  readonly pool: NodePool;
  readonly name: string;
  readonly told: string[] = [];
  link: ServerConnection | null = null;
  readonly request: LinkRequest;
  /** More to do as soon as there is a link. */
  onLink: () => void = () => {};

  constructor(
    pool: NodePool,
    name: string,
    { user = 'app', deadlineMs = 1e9 }: { user?: string; deadlineMs?: number } = {},
  ) {
    this.pool = pool;
    this.name = name;
    this.request = {
      profile: profile(user),
      key: user,
      withoutSchema: false,
      owner: this,
      deadlineMs,
      onLink: (link) => {
        this.link = link;
        this.told.push('link');
        this.onLink();
      },
      onLoss: (loss) => void this.told.push(`loss ${loss.kind}`),
      onTimeout: (error) => void this.told.push(`timeout ${error.errno}`),
    };
  }

  acquire(): this {
    this.pool.acquire(this.request);
    return this;
  }

  linkTaken(): void {
    this.link = null;
    this.told.push('taken');
  }

  linkLost(_connection: ServerConnection, loss: Loss): void {
    this.link = null;
    this.told.push(`lost ${loss.kind}`);
  }

  idle(): void {
    this.pool.setIdle(this.link as ServerConnection);
  }

  release(reusable = true): void {
    const link = this.link as ServerConnection;
    this.link = null;
    this.pool.release(link, reusable);
  }
}

interface Stage {
  server: FakeServer;
  pool: NodePool;
  clock: { nowMs: number };
  idleClosed: string[];
  session: (name: string, options?: { user?: string; deadlineMs?: number }) => Session;
}

function staged(limits: Partial<PoolLimits>, story: (stage: Stage) => Promise<void>): () => Promise<void> {
  return async () => {
    const server = new FakeServer();
    await server.listen();
    const clock = { nowMs: 0 };
    const idleClosed: string[] = [];
    const closed = (_node: string, loss: Loss): void => void idleClosed.push(loss.kind);
    const pool = new NodePool(server.node, { ...LIMITS, ...limits }, { mode: 'off' }, () => clock.nowMs, closed);
    const session = (name: string, options = {}): Session => new Session(pool, name, options);
    try {
      await story({ server, pool, clock, idleClosed, session });
    } finally {
      pool.closeAll();
      await server.close();
    }
  };
}

test(
  'no more connections than allowed; who comes later waits for the next free one, in order',
  staged({}, async ({ server, pool, session }) => {
    const sessions = ['a', 'b', 'c', 'd'].map((name) => session(name).acquire());
    const [a, b, c, d] = sessions as [Session, Session, Session, Session];
    await until('two links', () => a.link !== null && b.link !== null);
    assert.deepEqual(pool.counts(), { open: 2, inUse: 2, connecting: 0 });
    assert.equal(pool.waiting, 2);
    b.release();
    assert.ok(c.link !== null && d.link === null);
    assert.equal(server.connections.length, 2);
    a.release();
    assert.ok(d.link !== null);
    assert.equal(pool.waiting, 0);
  }),
);

test(
  'no more logins at once than allowed',
  staged({ maxConnections: 5, maxConnecting: 2 }, async ({ server, pool, session }) => {
    server.holdsLogins = true;
    const sessions = Array.from({ length: 5 }, (_, i) => session(String(i)).acquire());
    await until('two logins', () => server.connections.length === 2);
    assert.deepEqual(pool.counts(), { open: 0, inUse: 0, connecting: 2 });
    assert.equal(pool.waiting, 3);
    for (let i = 0; i < 5; i++) {
      await until(`login ${i}`, () => {
        server.connections[i]?.letIn();
        return sessions[i]?.link !== null;
      });
      assert.ok(pool.counts().connecting <= 2);
    }
  }),
);

test(
  'at the limit, the connection that was idle for longest is taken from its session',
  staged({ maxConnections: 3 }, async ({ server, pool, session }) => {
    const sessions = ['a', 'b', 'c'].map((name) => session(name).acquire());
    await until('three links', () => sessions.every((each) => each.link !== null));
    const [a, b, c] = sessions as [Session, Session, Session];
    b.idle();
    a.idle();
    pool.setHeld(b.link as ServerConnection); // b works again, and falls idle behind a
    b.idle();
    const links = [a.link, b.link];
    const d = session('d').acquire();
    assert.equal(d.link, links[0]);
    assert.deepEqual(a.told, ['link', 'taken']);
    const e = session('e').acquire();
    assert.equal(e.link, links[1]);
    assert.deepEqual(c.told, ['link']);
    assert.equal(server.connections.length, 3);
  }),
);

test(
  'a spare connection goes to one of the same account; another account gets one of its own in its stead',
  staged({ maxConnections: 1 }, async ({ server, session }) => {
    const a = session('a').acquire();
    await until('a link', () => a.link !== null);
    a.release();
    const b = session('b').acquire();
    assert.ok(b.link !== null);
    b.idle();
    const others = ['c', 'd', 'e'].map((name) => session(name, { user: 'other' }).acquire());
    assert.deepEqual(b.told, ['link', 'taken']);
    const served = new Set<Session>();
    while (served.size < others.length) {
      const next = (): Session | undefined => others.find((each) => each.link !== null && !served.has(each));
      await until('the next link', () => next() !== undefined);
      const current = next() as Session;
      served.add(current);
      assert.equal(current, others[served.size - 1], 'in their order');
      await until('one connection', () => server.open.length === 1);
      current.release();
    }
    for (const each of others) assert.deepEqual(each.told, ['link']);
    assert.equal(server.connections.length, 2);
  }),
);

test(
  'with many accounts and one connection, everyone who waits is served exactly once',
  staged({ maxConnections: 2, maxConnecting: 1 }, async ({ server, pool, session }) => {
    const sessions = Array.from({ length: 30 }, (_, i) => session(String(i), { user: `user${i % 7}` }));
    for (const each of sessions) {
      each.onLink = () => {
        assert.ok(server.open.length <= 3); // one may be on its way out
        setImmediate(() => (each.name === '3' ? each.release(false) : each.idle()));
      };
      each.acquire();
    }
    await until('all served', () => sessions.every((each) => each.told.includes('link')));
    for (const each of sessions) assert.equal(each.told.filter((word) => word === 'link').length, 1);
    const { open, connecting } = pool.counts();
    assert.ok(open + connecting <= 2);
    assert.equal(pool.waiting, 0);
  }),
);

test(
  'who waits too long is refused, and not served afterwards',
  staged({ maxConnections: 1 }, async ({ pool, clock, session }) => {
    const a = session('a').acquire();
    await until('a link', () => a.link !== null);
    const b = session('b', { deadlineMs: 100 }).acquire();
    const c = session('c', { deadlineMs: 200 }).acquire();
    clock.nowMs = 99;
    pool.tick();
    assert.deepEqual(b.told, []);
    clock.nowMs = 100;
    pool.tick();
    assert.deepEqual(b.told, ['timeout 9103']);
    a.release();
    assert.deepEqual([b.told, c.told], [['timeout 9103'], ['link']]);
  }),
);

test(
  'no more wait than allowed, and one whose client left waits no longer',
  staged({ maxConnections: 1, maxWaiting: 2 }, async ({ pool, session }) => {
    const a = session('a').acquire();
    await until('a link', () => a.link !== null);
    const [b, c, d] = ['b', 'c', 'd'].map((name) => session(name).acquire()) as [Session, Session, Session];
    assert.deepEqual(d.told, ['timeout 9103']);
    pool.cancel(b.request);
    a.release();
    assert.deepEqual([b.told, c.told], [[], ['link']]);
  }),
);

test(
  'a connection that breaks is told to its session, makes room for the next, and is evidence where it was idle',
  staged({ maxConnections: 1 }, async ({ server, idleClosed, session }) => {
    const a = session('a').acquire();
    await until('a link', () => a.link !== null);
    const b = session('b').acquire();
    server.connections[0]?.break();
    await until('b has a link', () => b.link !== null);
    assert.deepEqual(a.told, ['link', 'lost connection-lost']);
    assert.deepEqual(idleClosed, ['connection-lost']);
    b.release();
    server.connections[1]?.break();
    await until('the spare is noticed', () => idleClosed.length === 2);
  }),
);

test(
  'a connection that is not fit for another session is closed when it is released',
  staged({ maxConnections: 1 }, async ({ server, idleClosed, session }) => {
    const a = session('a').acquire();
    await until('a link', () => a.link !== null);
    a.release(false);
    await until('closed', () => server.open.length === 0);
    assert.deepEqual(idleClosed, []);
    assert.deepEqual(a.told, ['link']);
  }),
);

test(
  'an account that the server refuses is told so; others are not kept from logging in',
  staged({ maxConnections: 1 }, async ({ server, session }) => {
    server.refuses = true;
    const a = session('a').acquire();
    const b = session('b').acquire();
    await until('a refused', () => a.told.length > 0);
    server.refuses = false;
    await until('b served', () => b.told.length > 0);
    assert.deepEqual(a.told, ['loss refused']);
    assert.ok(['link', 'loss refused'].includes(b.told[0] as string));
  }),
);

test(
  'a connection that nobody has is closed after its time, and one that somebody has is not',
  staged({}, async ({ server, pool, clock, session }) => {
    const [a, b] = ['a', 'b'].map((name) => session(name).acquire()) as [Session, Session];
    await until('two links', () => a.link !== null && b.link !== null);
    a.release();
    b.idle();
    clock.nowMs = 1001;
    pool.tick();
    await until('one closed', () => server.open.length === 1);
    assert.equal(pool.counts().open, 1);
    assert.deepEqual(b.told, ['link']);
  }),
);

test(
  'a node that leaves service keeps no spare connection, no login under way and nobody waiting, and gets no new one',
  staged({ maxConnections: 3, maxConnecting: 1 }, async ({ server, pool, session }) => {
    const [a, b] = ['a', 'b'].map((name) => session(name).acquire()) as [Session, Session];
    await until('two links', () => a.link !== null && b.link !== null);
    a.release();
    server.holdsLogins = true;
    const connecting = session('c', { user: 'other' }).acquire();
    const waiting = session('d', { user: 'third' }).acquire();
    await until('a third login', () => server.connections.length === 3);
    pool.evacuate();
    assert.deepEqual([connecting.told, waiting.told], [['loss closed'], ['loss closed']]);
    await until('closed', () => server.open.length === 1);
    assert.deepEqual(pool.counts(), { open: 1, inUse: 1, connecting: 0 });
    assert.deepEqual(b.told, ['link']); // its session decides by the gate
    assert.equal(server.connections.length, 3);
  }),
);
