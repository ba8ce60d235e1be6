// Who asks a simulated pool for connections, and the connections, made of nothing: see pool-world.ts.
import assert from 'node:assert/strict';
import { AT_LOGIN, changed, type LinkState } from '../../src/gateway/link-state.ts';
import type { Lane, LinkEvents, LinkOwner, LinkRequest, Seat } from '../../src/gateway/pool.ts';
import type { Exchange, Loss, ServerConnection } from '../../src/gateway/server-connection.ts';
import type { World } from './pool-world.ts';

/** Nobody goes back from a schema to none. */
const STATES: LinkState[] = [
  AT_LOGIN,
  changed(AT_LOGIN, { schema: 'one' }),
  changed(AT_LOGIN, { schema: 'two' }),
  changed(AT_LOGIN, { schema: 'one', role: 'SET ROLE `r`' }),
];

/** What a test may say of a wish; the rest is left to the dice. */
export interface WishGiven {
  group: string;
  wanted: LinkState;
  shareable: boolean;
  expectedUs: number;
  deadlineMs: number;
  yields: Wish['yields'];
}

/** One statement's wish for a connection. */
export class Wish implements LinkRequest, LinkOwner {
  readonly lane: Lane;
  readonly wanted: LinkState;
  readonly shareable: boolean;
  readonly expectedUs: number;
  readonly prefer: ServerConnection | null;
  readonly group: string;
  readonly deadlineMs: number;
  readonly owner = this;
  readonly number: number;
  at: 'asking' | 'waiting' | 'served' | 'refused' | 'lost' | 'done' = 'asking';
  link: FakeLink | null = null;
  /** Gives its connection back when it is asked: at once, later, never. */
  readonly yields: 'at-once' | 'later' | 'never';
  /** Others that were given a free connection of its lane while it was the first of its group, by their group. */
  readonly overtakenBy = new Map<string, number>();
  #world: World;
  #given: Partial<WishGiven>;

  constructor(world: World, lane: Lane, number: number, prefer: ServerConnection | null, given: Partial<WishGiven>) {
    const { random } = world;
    this.#world = world;
    this.#given = given;
    this.lane = lane;
    this.number = number;
    this.prefer = prefer;
    this.group = given.group ?? `${lane.profile.user}/${Math.floor(random() * world.options.groupsPerLane)}`;
    this.wanted = given.wanted ?? world.pick(STATES);
    this.shareable = given.shareable ?? random() * 100 < world.options.reads;
    this.expectedUs = given.expectedUs ?? (this.shareable ? world.pick([-1, 20, 20, 300, 1500, 3900, 5000]) : -1);
    this.deadlineMs = given.deadlineMs ?? world.now + Math.floor(random() * 3000);
    this.yields = given.yields ?? world.pick(['at-once', 'later', 'never']);
  }

  onLink(link: ServerConnection): void {
    this.#world.served(this, link as unknown as FakeLink, true);
  }

  onLoss(): void {
    assert.equal(this.at, 'waiting', 'told of a loss while it does not wait');
    const { leaving, losing } = this.#world;
    assert.ok(leaving || losing === this.lane, 'told of a loss that is not its own account’s');
    this.at = 'lost';
    if (this.#world.random() < 0.5) this.again(); // as a statement does
  }

  again(): void {
    this.#world.ask(Number(this.lane.profile.user.slice(1)), this.#given);
  }

  onTimeout(): void {
    const asked = this.at === 'asking';
    assert.ok(asked || this.at === 'waiting', 'refused while it does not wait');
    if (asked) assert.ok(this.#world.pool.waiting >= this.#world.options.limits.maxWaiting, 'refused without a reason');
    else assert.ok(this.deadlineMs <= this.#world.now, 'refused before its deadline');
    this.at = 'refused';
  }

  linkLost(link: ServerConnection): void {
    assert.equal(this.link, link as unknown as FakeLink, 'told of the loss of another connection than its own');
    assert.equal(this.at, 'served');
    this.at = 'lost';
    this.link = null;
  }

  giveWay(): boolean {
    const { link } = this;
    assert.ok(link !== null && this.at === 'served', 'asked for a connection that it does not hold');
    assert.ok(this.#world.pool.waiting > 0, 'asked though nobody waits');
    this.#world.asked++;
    if (this.yields === 'never' || link.depth > 0) return false;
    if (this.yields === 'at-once') this.#world.giveBack(this, true);
    return true;
  }
}

interface FakeExchange {
  readonly wish: Wish | null;
  readonly expectedUs: number;
}

export class FakeLink {
  seat: Seat | null = null;
  state: LinkState = AT_LOGIN;
  ready = false;
  headSinceMs = 0;
  expectedUs = 0;
  /** Somebody's LAST_INSERT_ID() is on it and was not read: see `hasUnreadInsertIdOn`. */
  insertIdOf: { hasUnreadInsertIdOn(link: unknown): boolean } | null = null;
  readonly lane: Lane;
  readonly openedMs: number;
  alive = true;
  holder: Wish | null = null;
  unread = false;
  reading = false;
  /** Its account has other privileges by now: who has it may keep it. */
  old = false;
  exchanges: FakeExchange[] = [];
  readonly events: LinkEvents;
  #world: World;

  constructor(world: World, lane: Lane, events: LinkEvents) {
    this.#world = world;
    this.lane = lane;
    this.events = events;
    this.openedMs = world.now;
  }

  get busy(): boolean {
    return this.exchanges.length > 0;
  }

  get depth(): number {
    return this.exchanges.length;
  }

  send(exchange: FakeExchange): void {
    assert.ok(this.alive && this.ready, 'sent to a connection that is not there');
    if (this.exchanges.push(exchange) === 1) this.headSinceMs = this.#world.now;
    this.expectedUs += exchange.expectedUs;
  }

  /** The first `count` answers have come. */
  answer(count: number): void {
    const ended = this.exchanges.splice(0, count);
    for (const { wish, expectedUs } of ended) {
      this.expectedUs -= expectedUs;
      if (wish?.at === 'served') wish.at = 'done';
    }
    this.headSinceMs = this.#world.now;
    if (ended.some(({ wish }) => wish === null)) this.unread = this.reading = false;
    this.events.onProgress(ended as unknown as Exchange[], 10);
  }

  quit(): void {
    assert.ok(this.alive, 'closed twice');
    const { place } = this.seat as Seat;
    assert.ok(place === 'free' || this.#world.closing, `closed by the pool while it is ${place}`);
    if (!this.#world.closing && !this.#world.leaving)
      assert.ok(!this.unread, 'closed with an insert id that nobody has read');
    this.lose({ kind: 'closed', detail: 'no longer needed' });
  }

  lose(loss: Loss): void {
    if (!this.alive) return;
    this.alive = false;
    this.ready = false;
    this.#world.links.delete(this);
    if (this.seat?.place !== 'connecting') this.#world.closed++;
    const { exchanges } = this;
    this.exchanges = [];
    const { losing } = this.#world;
    this.#world.losing = this.lane;
    this.events.onLost(loss, exchanges.length > 0);
    this.#world.losing = losing;
    assert.equal(this.seat, null, 'a connection that is gone has a place');
    for (const { wish } of exchanges) {
      if (wish?.shareable !== true || wish.at !== 'served') continue;
      wish.at = 'lost';
      if (this.#world.random() < 0.5) wish.again(); // a read that a lost connection interrupted runs again
    }
  }

  /** Some of those behind the head ask for another connection; what comes for them here is dropped. */
  divert(): void {
    for (const { wish } of this.exchanges.slice(1)) {
      if (wish?.at !== 'served' || this.#world.random() < 0.5) continue;
      wish.at = 'lost';
      wish.again();
    }
  }
}
