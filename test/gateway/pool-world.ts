// A pool in memory: server connections that are made of nothing, a clock that a test moves, and clients that ask, hold,
// share, give back and leave as one seed says. After each step everything is compared with what must always be true.
import assert from 'node:assert/strict';
import { type LinkState, sameState } from '../../src/gateway/link-state.ts';
import {
  type Lane,
  type LinkEvents,
  NodePool,
  type PoolHooks,
  type PoolLimits,
  type Seat,
} from '../../src/gateway/pool.ts';
import type { ServerConnection } from '../../src/gateway/server-connection.ts';
import { profile } from './fake-server.ts';
import { FakeLink, Wish, type WishGiven } from './pool-actors.ts';

const BUDGET_US = 4000;

/** Nobody goes back from a schema, or from a role, to none. */
function fits(state: LinkState, wanted: LinkState): boolean {
  return !(state.schema !== null && wanted.schema === null) && !(state.role !== null && wanted.role === null);
}

export interface WorldOptions {
  limits: PoolLimits;
  lanes: number;
  groupsPerLane: number;
  /** Of a hundred requests, how many are reads. */
  reads: number;
}

export class World {
  now = 1000;
  readonly options: WorldOptions;
  readonly random: () => number;
  readonly pool: NodePool;
  readonly links = new Set<FakeLink>();
  readonly wishes: Wish[] = [];
  opened = 0;
  closed = 0;
  joined = 0;
  asked = 0;
  /** When connections were opened. */
  readonly opens: number[] = [];
  closing = false;
  leaving = false;
  /** Whose connection is being lost. */
  losing: Lane | null = null;
  #trimming = false;
  #tokens: number;
  #tokensMs: number;
  /** Until when the server is known to be full. */
  #backOffUntilMs = 0;
  #lanes = new Set<Lane>();
  /** The node whose clients may come here, and how many connections each lane was to have then at most. */
  readonly other: NodePool;
  #ahead = new Map<Lane, number>();

  constructor(options: WorldOptions, random: () => number) {
    this.options = options;
    this.random = random;
    this.#tokens = options.limits.connectRate;
    this.#tokensMs = this.now;
    const hooks: PoolHooks = {
      nowMs: () => this.now,
      connect: (of, events) => this.#connect(of.user, events) as unknown as ServerConnection,
      setUp: (link, ready) => {
        (link as unknown as FakeLink).ready = true;
        ready();
      },
      onIdleClosed: (_, loss) => assert.notEqual(loss.kind, 'closed', 'our own closing taken for the server’s'),
      readInsertId: (link) => this.#readInsertId(link as unknown as FakeLink),
      onProgress: () => {},
    };
    this.pool = new NodePool('db1:3306', options.limits, hooks);
    this.other = new NodePool('db2:3306', options.limits, hooks);
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.random() * from.length)] as T;
  }

  lane(n: number): Lane {
    const lane = this.pool.lane(profile(`u${n}`), `u${n}`);
    this.#lanes.add(lane);
    return lane;
  }

  #connect(user: string, events: LinkEvents): FakeLink {
    const { maxConnections, maxConnecting } = this.options.limits;
    assert.ok(this.links.size < maxConnections, 'more connections than there may be');
    const connecting = this.of('connecting').length;
    assert.ok(connecting < maxConnecting, 'more logins at once than there may be');
    this.#refill();
    assert.ok(this.#tokens >= 1 - 1e-6, 'connections are opened faster than they may be');
    assert.ok(this.now >= this.#backOffUntilMs, 'a server that is full is asked again at once');
    this.#tokens--;
    this.opens.push(this.now);
    const lane = this.lane(Number(user.slice(1)));
    const expected = lane.members <= (this.#ahead.get(lane) ?? 0);
    assert.ok(this.#trimming || lane.connecting <= lane.waiting || expected, 'a connection is opened for nobody');
    const link = new FakeLink(this, lane, events);
    this.links.add(link);
    return link;
  }

  #refill(): void {
    const { connectRate } = this.options.limits;
    this.#tokens = Math.min(connectRate, this.#tokens + ((this.now - this.#tokensMs) * connectRate) / 1000);
    this.#tokensMs = this.now;
  }

  /** No limit of logins stands in the way. */
  #mayOpen(): boolean {
    this.#refill();
    const full = this.of('connecting').length >= this.options.limits.maxConnecting;
    return !full && this.#tokens >= 1 + 1e-6 && this.now >= this.#backOffUntilMs;
  }

  #readInsertId(link: FakeLink): void {
    assert.ok(link.unread, 'an insert id is read that is not there');
    assert.ok(!link.reading, 'an insert id is read twice');
    link.reading = true;
    link.send({ wish: null, expectedUs: 20 });
  }

  of(place: Seat['place']): FakeLink[] {
    return [...this.links].filter(({ seat }) => seat?.place === place);
  }

  /** The first of each group. */
  #heads(): Wish[] {
    const heads = new Map<string, Wish>();
    for (const wish of this.waiting()) if (!heads.has(wish.group)) heads.set(wish.group, wish);
    return [...heads.values()];
  }

  waiting(): Wish[] {
    return this.wishes.filter(({ at }) => at === 'waiting');
  }

  // ---- what clients do ----------------------------------------------------------------------------------------------

  ask(laneNumber = Math.floor(this.random() * this.options.lanes), given: Partial<WishGiven> = {}): Wish {
    const lane = this.lane(laneNumber);
    const links = [...this.links].filter((link) => link.lane === lane);
    const prefer = this.random() < 0.3 && links.length > 0 ? this.pick(links) : null;
    const wish = new Wish(this, lane, this.wishes.length, prefer as unknown as ServerConnection, given);
    this.wishes.push(wish);
    const link = this.pool.take(wish);
    if (link !== null) {
      this.served(wish, link as unknown as FakeLink, false);
      return wish;
    }
    const full = this.pool.waiting >= this.options.limits.maxWaiting;
    if (!full) wish.at = 'waiting';
    this.pool.wait(wish);
    if (full) assert.equal(wish.at, 'refused', 'more wait than may');
    return wish;
  }

  served(wish: Wish, link: FakeLink, waited: boolean): void {
    assert.equal(wish.at, waited ? 'waiting' : 'asking', 'served while it does not wait');
    assert.ok(link.alive && link.ready, 'given a connection that is not there');
    assert.equal(link.lane, wish.lane, 'given the connection of another account');
    assert.equal(link.holder, null, 'given a connection that is held');
    // One that keeps a LAST_INSERT_ID() goes when that was read, in a moment.
    assert.ok(!link.old || link.unread, 'given a connection with the privileges that its account had before');
    const strangers = link.exchanges.filter((exchange) => exchange.wish !== null);
    assert.ok(fits(link.state, wish.wanted), 'its state is not to be had on it');
    if (waited) this.#checkTurn(wish, strangers.length === 0);
    else if (strangers.length === 0) {
      for (const head of this.#heads()) {
        assert.ok(head.lane !== wish.lane || !fits(link.state, head.wanted), 'served before somebody who has waited');
      }
    }
    wish.at = 'served';
    this.#use(wish, link, strangers);
    if (this.random() < 0.1) this.ask(); // its client sends the next one at once
  }

  #use(wish: Wish, link: FakeLink, strangers: FakeLink['exchanges']): void {
    const seat = link.seat as Seat;
    if (wish.shareable) {
      assert.equal(seat.place, 'shared');
      if (strangers.length > 0) {
        this.joined++;
        assert.ok(wish.expectedUs >= 0, 'a read of unknown cost was queued behind others');
        assert.ok(link.expectedUs + wish.expectedUs <= BUDGET_US, 'too much is queued on one connection');
        assert.ok(!seat.alone && !seat.reserved, 'queued where nobody may come');
        for (const other of strangers) {
          assert.ok((other.wish as Wish).expectedUs >= 0, 'queued behind a read of unknown cost');
        }
      }
      if (this.random() < 0.05) {
        wish.at = 'done'; // the way was closed meanwhile
        return this.pool.release(link as unknown as ServerConnection, true);
      }
      link.state = wish.wanted;
      return link.send({ wish, expectedUs: Math.max(wish.expectedUs, 0) });
    }
    assert.equal(seat.place, 'held');
    assert.equal(seat.owner, wish);
    assert.equal(strangers.length, 0, 'given a connection for itself on which others wait');
    if (this.random() < 0.05) {
      wish.at = 'done';
      return this.pool.release(link as unknown as ServerConnection, true);
    }
    link.holder = wish;
    wish.link = link;
    link.state = wish.wanted;
  }

  /** In order within a group, and no other group of the lane twice before its first. */
  #checkTurn(wish: Wish, free: boolean): void {
    const heads = this.#heads();
    const first = heads.find(({ group }) => group === wish.group);
    assert.equal(first, wish, 'served before one of its group that has waited longer');
    if (!free) return;
    for (const other of heads) {
      if (other === wish || other.lane !== wish.lane || other.wanted.schema === null || other.wanted.role === null)
        continue;
      const times = (other.overtakenBy.get(wish.group) ?? 0) + 1;
      other.overtakenBy.set(wish.group, times);
      assert.ok(times <= 1, 'a group was served twice while the first of another waited');
    }
  }

  giveBack(wish: Wish, reusable: boolean): void {
    const link = wish.link as FakeLink;
    wish.link = null;
    link.holder = null;
    wish.at = 'done';
    if (this.random() < 0.1) this.#leaveInsertId(link);
    const { expiresMs } = link.seat as Seat;
    const ends = !reusable || link.busy || (this.now > expiresMs && !link.unread);
    this.pool.release(link as unknown as ServerConnection, reusable);
    if (ends) assert.ok(!link.alive, 'kept though it is of no use to others');
  }

  #leaveInsertId(link: FakeLink): void {
    link.unread = true;
    link.insertIdOf = { hasUnreadInsertIdOn: () => link.unread };
  }

  /** One thing happens. */
  step(): void {
    const what = this.random();
    if (what < 0.34) this.ask();
    else if (what < 0.5) this.#letGo();
    else if (what < 0.66) this.#answer();
    else if (what < 0.74) this.#login();
    else if (what < 0.78) this.#cancel();
    else if (what < 0.81) this.#break();
    else if (what < 0.82 && this.links.size > 0)
      this.pool.leaveAlone(this.pick([...this.links]) as unknown as ServerConnection);
    else if (what < 0.822) this.#evacuate();
    else if (what < 0.825) this.openAhead(Math.floor(this.random() * this.options.lanes), 3);
    else if (what < 0.828 && this.#lanes.size > 0) this.renew(this.pick([...this.#lanes]));
    else if (what < 0.96) this.pass(Math.floor(this.random() * 60));
    else if (what < 0.999) this.pass(Math.floor(this.random() * 1500));
    else this.pass(Math.floor(this.random() * 3 * this.options.limits.maxLifetimeMs));
    this.check();
  }

  pass(ms: number): void {
    this.now += ms;
    this.pool.tick();
    this.check();
    this.#checkNobodyForgotten();
    if (this.random() < 0.3) {
      const before = this.opens.length;
      this.#trim();
      assert.ok(
        this.opens.length - before <= this.#lanes.size,
        'more is opened at once to be kept warm than one a lane',
      );
    }
  }

  #trim(): void {
    const { idleTimeoutMs, minConnections } = this.options.limits;
    this.#trimming = true;
    this.pool.trim();
    this.#trimming = false;
    for (const { free, members } of this.#lanes) {
      for (const link of members > minConnections ? (free as unknown as FakeLink[]) : []) {
        const idleMs = this.now - (link.seat as Seat).idleSinceMs;
        assert.ok(link.unread || idleMs <= idleTimeoutMs, 'what nobody needs is kept');
      }
    }
  }

  #letGo(): void {
    const held = this.of('held').filter(({ holder }) => holder !== null);
    if (held.length === 0) return;
    const { holder } = this.pick(held);
    this.giveBack(holder as Wish, this.random() < 0.85);
  }

  #answer(): void {
    const busy = [...this.links].filter(({ depth }) => depth > 0);
    if (busy.length === 0) return;
    const link = this.pick(busy);
    link.answer(1 + Math.floor(this.random() * link.depth));
  }

  #login(): void {
    const connecting = this.of('connecting');
    if (connecting.length === 0) return;
    const link = this.pick(connecting);
    const how = this.random();
    if (how < 0.75) {
      this.opened++;
      return link.events.onReady();
    }
    if (how < 0.9) return link.lose({ kind: 'connect-failed', detail: 'no route' });
    const errno = this.pick([1045, 1040, 1203, 1226]);
    const others = [...this.links].some((other) => other.lane === link.lane && other.seat?.place !== 'connecting');
    if (errno !== 1045 && others) this.#backOffUntilMs = this.now + 1000;
    link.lose({ kind: 'refused', err: { errno, sqlState: 'HY000', message: 'no' } });
  }

  #cancel(): void {
    const waiting = this.waiting();
    if (waiting.length === 0) return;
    const wish = this.pick(waiting);
    wish.at = 'done';
    this.pool.cancel(wish);
  }

  #break(): void {
    if (this.links.size === 0) return;
    this.pick([...this.links]).lose({ kind: 'connection-lost', detail: 'reset by peer' });
  }

  #evacuate(): void {
    const there = [...this.of('free'), ...this.of('connecting')];
    this.leaving = true;
    this.pool.evacuate();
    this.leaving = false;
    for (const link of there) assert.ok(!link.alive, 'a connection to a node that left service is kept');
  }

  /** Clients of another node may come here soon, where the account of a lane had so many connections. */
  openAhead(n: number, had: number): void {
    this.other.lane(profile(`u${n}`), `u${n}`).recent = had;
    this.#ahead.set(this.lane(n), had);
    this.pool.openAhead(this.other);
  }

  /** The account of the lane gets other privileges. */
  renew(lane: Lane): void {
    const there = [...this.links].filter((link) => link.lane === lane && link.seat?.place !== 'connecting');
    const free = there.filter(({ seat, unread }) => seat?.place === 'free' && !unread);
    this.pool.renew(new Set([lane.profile.user]));
    for (const link of free) assert.ok(!link.alive, 'a free connection with the privileges of before is kept');
    for (const link of there) link.old = true;
  }

  // ---- what must always be true ---------------------------------------------------------------------------------------

  check(): void {
    const { pool, links } = this;
    const placed = new Map<FakeLink, string>();
    for (const lane of this.#lanes) {
      for (const [place, list] of [
        ['free', lane.free],
        ['shared', lane.shared],
      ] as const) {
        for (const link of list as unknown as FakeLink[]) {
          assert.ok(!placed.has(link), 'a connection is in two places');
          placed.set(link, place);
          assert.ok(link.alive, `a connection that is gone is ${place}`);
          assert.equal(link.lane, lane);
        }
      }
      const members = [...links].filter((link) => link.lane === lane);
      assert.equal(lane.members, members.length, 'the connections of a lane');
      assert.equal(lane.connecting, members.filter(({ seat }) => seat?.place === 'connecting').length);
      assert.equal(lane.waiting, this.waiting().filter((wish) => wish.lane === lane).length, 'who waits in a lane');
    }
    for (const link of links) {
      const { seat, holder, depth } = link;
      assert.ok(seat !== null, 'a connection is nowhere');
      const listed = seat.place === 'free' || seat.place === 'shared' ? seat.place : undefined;
      assert.equal(placed.get(link), listed, `a connection that is ${seat.place} is in the list of others`);
      assert.equal(seat.place === 'held', holder !== null, 'who holds it is not who should');
      assert.equal(seat.owner, holder);
      if (seat.place !== 'shared') assert.ok(!seat.alone && !seat.reserved, 'marked as if it were shared');
      if (seat.place === 'shared') assert.ok(depth > 0, 'a connection is shared by nobody');
    }
    const count = (place: Seat['place']): number => this.of(place).length;
    assert.deepEqual(pool.counts(), {
      open: links.size - count('connecting'),
      inUse: count('held') + count('shared'),
      connecting: count('connecting'),
    });
    const { shared, waiting, opened, closed, joined } = pool.report();
    assert.equal(shared, count('shared'));
    assert.equal(waiting, this.waiting().length, 'as many wait as are counted');
    assert.equal(opened, this.opened);
    assert.equal(
      Object.values(closed).reduce((sum, each) => sum + each, 0),
      this.closed,
    );
    assert.equal(joined, this.joined);
    this.#checkNobodyWaitsForNothing();
  }

  /** The first of its group waits only where nothing in its lane is free for it. */
  #checkNobodyWaitsForNothing(): void {
    for (const { lane, wanted } of this.#heads()) {
      for (const link of lane.free) {
        // One with old privileges goes as soon as what it keeps for somebody was read.
        const { state, old } = link as unknown as FakeLink;
        assert.ok(old || !fits(state, wanted), 'somebody waits though a connection of his lane is free');
      }
    }
  }

  /** After a tick: who waits has a login under way, unless a limit forbids it; and nobody waits beyond his deadline. */
  #checkNobodyForgotten(): void {
    for (const wish of this.waiting()) assert.ok(wish.deadlineMs > this.now, 'somebody waits beyond his deadline');
    for (const { old, unread } of this.of('free')) assert.ok(!old || unread, 'old privileges are kept');
    for (const { lane, wanted, shareable, expectedUs } of this.#heads()) {
      for (const { state, seat, depth, expectedUs: queuedUs } of shareable && expectedUs >= 0 ? lane.shared : []) {
        if (!sameState(state, wanted) || seat?.alone !== false || seat.reserved || seat.expiresMs === 0) continue;
        assert.ok(depth >= 64 || queuedUs + expectedUs > BUDGET_US, 'a read waits though it could be queued');
      }
    }
    const room = this.links.size < this.options.limits.maxConnections || this.of('free').some(({ unread }) => !unread);
    if (!room || !this.#mayOpen()) return;
    for (const lane of this.#lanes) assert.ok(lane.waiting <= lane.connecting, 'somebody waits though there is room');
  }

  /** Every login that is under way succeeds. */
  logIn(): void {
    for (const link of this.of('connecting')) {
      this.opened++;
      link.events.onReady();
    }
  }

  /** Every login succeeds, every answer comes, everybody gives back: then nobody is left, and peace comes. */
  finish(): void {
    for (let round = 0; this.wishes.some(({ at }) => at === 'waiting' || at === 'served'); round++) {
      assert.ok(round < 2000, 'somebody waits for ever');
      this.logIn();
      for (const link of this.links) {
        const { depth, holder } = link;
        if (!link.alive) continue;
        if (depth > 0) link.answer(depth);
        if (holder !== null && link.holder === holder) this.giveBack(holder, true);
      }
      this.check();
      this.now += 20;
      this.pool.tick();
      this.check();
    }
    this.now += 6000;
    this.pool.tick(); // what was to be opened ahead, and could not be, is given up
    this.#checkPeace();
    this.closing = true;
    this.pool.closeAll();
    assert.equal(this.links.size, 0);
    this.check();
  }

  /** With nothing to do, what is opened is what is kept warm. */
  #checkPeace(): void {
    const { minConnections, maxConnections, maxLifetimeMs } = this.options.limits;
    const used = [...this.#lanes].filter((lane) => !lane.gone && lane.usedMs > 0);
    const warm = Math.min(used.length * minConnections, maxConnections);
    const before = this.opens.length;
    const generations = 3;
    for (let passed = 0; passed < generations * 0.9 * maxLifetimeMs; passed += 1000) {
      this.now += 1000;
      // Somebody looks in now and then, so that it is not given up.
      for (const lane of used) lane.usedMs = this.now;
      this.pool.tick();
      const room = this.links.size + used.length <= maxConnections;
      this.#trim();
      for (const lane of room && this.#mayOpen() && this.links.size < maxConnections ? used : []) {
        assert.ok(lane.members >= minConnections || lane.connecting > 0, 'what is to be kept warm is not');
      }
      this.logIn();
      for (const link of this.links) if (link.alive && link.depth > 0) link.answer(link.depth);
      this.check();
      for (const link of passed < 5000 ? [] : this.links) {
        const ageMs = this.now - link.openedMs;
        assert.ok(ageMs <= 1.1 * maxLifetimeMs + 3000, 'a connection lives for longer than it may');
      }
    }
    assert.ok(
      this.opens.length - before <= (generations + 1) * warm + used.length * minConnections,
      `${this.opens.length - before} connections were opened for nobody`,
    );
  }
}
