// Server connections of one node: how many there are, who has them, who shares them, who waits.
//
// A lane is an account in one dialect: within it, connections are interchangeable but for the state that they have.
// Every connection is in exactly one place: connecting, free, shared (reads of several sessions are queued on it), or
// held (one session's: a write, a transaction, a pin). A statement gets, in this order: the connection that its session
// had last, a free one that has the session's state already, any free one; a read may also be queued behind other reads
// of known, small cost. One function moves waiting requests on (`#advance`).
import type { CloseReason, NodeAddress, ServerConnectionCounts } from '../messages/index.ts';
import type { ErrPacket } from '../wire/index.ts';
import { gatewayError } from './errors.ts';
import { FairQueue } from './fair-queue.ts';
import { type LinkState, sameState } from './link-state.ts';
import { PoolStats } from './pool-stats.ts';
import type { Exchange, LoginProfile, Loss, ServerConnection } from './server-connection.ts';

/** Who holds a connection. */
export interface LinkOwner {
  /** The connection broke while nothing of the owner's was in flight on it. */
  linkLost(connection: ServerConnection, loss: Loss): void;
  /** Others wait, and no more connections are to be had. True: this one will be free in a moment. */
  giveWay(nowMs: number): boolean;
}

export interface LinkRequest {
  readonly lane: Lane;
  /** The state that the session wants. */
  readonly wanted: LinkState;
  /** A read that may be queued with strangers' reads. */
  readonly shareable: boolean;
  /** What it is expected to take, microseconds; -1 where nothing is known. */
  readonly expectedUs: number;
  /** The connection that the session had last. */
  readonly prefer: ServerConnection | null;
  /** Waiting requests of different groups take turns; those of one group are of one lane. */
  readonly group: string;
  readonly deadlineMs: number;
  /** Who holds the connection where it is not shared. */
  readonly owner: LinkOwner;
  onLink(connection: ServerConnection): void;
  onLoss(loss: Loss): void;
  onTimeout(error: ErrPacket): void;
}

export interface PoolLimits {
  maxConnections: number;
  maxConnecting: number;
  /** New connections a second. */
  connectRate: number;
  /** Requests that wait for a connection. */
  maxWaiting: number;
  /** A free connection is closed after this time, down to `minConnections` a lane. */
  idleTimeoutMs: number;
  minConnections: number;
  /** A connection older than this is closed when it is free. */
  maxLifetimeMs: number;
}

export interface PoolHooks {
  nowMs(): number;
  connect(profile: LoginProfile, events: LinkEvents): ServerConnection;
  /** Makes a fresh connection report its changes; calls back once, before anybody gets it. */
  setUp(connection: ServerConnection, ready: () => void): void;
  /** A connection that nobody waited on was closed from the other side. */
  onIdleClosed(node: NodeAddress, loss: Loss): void;
  /** A free connection has a LAST_INSERT_ID() that nobody has read yet. */
  readInsertId(connection: ServerConnection): void;
  /** What statements took. */
  onProgress(ended: readonly Exchange[], eachUs: number): void;
}

export interface LinkEvents {
  onReady(): void;
  onLost(loss: Loss, inFlight: boolean): void;
  onProgress(ended: readonly Exchange[], eachUs: number): void;
}

/** Where a connection is. */
export interface Seat {
  readonly lane: Lane;
  place: 'connecting' | 'free' | 'shared' | 'held';
  owner: LinkOwner | null;
  idleSinceMs: number;
  /** 0: its account has other privileges by now, or its server other defaults. */
  expiresMs: number;
  /** Somebody has had it. */
  used: boolean;
  /** Shared, but nobody else may come: its statement is slow, or nothing is known of it. */
  alone: boolean;
  /** Shared, and kept from filling up again: somebody needs it for himself. */
  reserved: boolean;
  /** Why we end it. */
  ending: CloseReason | null;
}

/** Reads are spread over this many connections before they queue behind one another. */
const SPREAD = 4;
/** What may be queued on one connection, by what it is expected to take and in number. */
const BUDGET_US = 4000;
const MAX_DEPTH = 64;
/** A statement that takes this long is left alone: those behind it are sent elsewhere. */
const SLOW_MS = 50;
/** What is left, a second later, of the number of connections that a lane had. */
const REMEMBERED = 0.8;
/** How long connections are opened that nobody has asked for yet. */
const AHEAD_MS = 5000;
/** How many free connections are looked at for one with the right state. */
const LOOK_AHEAD = 16;
/** At the limit, a lane without a connection waits no longer than this for one that becomes free in another. */
const STARVED_MS = 50;
/** Nor, with fewer connections than another lane has, for longer than this without anybody being served. */
const OVERDUE_MS = 1000;
/** After the server said that it takes no more connections. */
const BACK_OFF_MS = 1000;
/** After reads of an account were not taken that may go elsewhere; of how many accounts that is remembered. */
const REFUSED_MS = 5000;
const MAX_REFUSED = 1000;
/** A session's wait_timeout up to this: `trim` could come too late for its connection. */
const SHORT_WAIT_MS = 4000;
/** ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED. */
const FULL = new Set([1040, 1203, 1226]);

/** An account in one dialect on one node. */
export class Lane {
  readonly profile: LoginProfile;
  readonly free: ServerConnection[] = [];
  readonly shared: ServerConnection[] = [];
  members = 0;
  /** As many as it had within the last seconds. */
  recent = 0;
  connecting = 0;
  waiting = 0;
  /** Of those, who needs a connection of his own. */
  wantOwn = 0;
  /** Since when somebody has waited without anybody being served. */
  waitingSinceMs = 0;
  usedMs = 0;
  /** Nobody has used it for long: it was taken off the pool. */
  gone = false;

  constructor(profile: LoginProfile) {
    this.profile = profile;
  }
}

function reachable(link: ServerConnection, wanted: LinkState): boolean {
  const { state } = link;
  return !(state.schema !== null && wanted.schema === null) && !(state.role !== null && wanted.role === null);
}

/** The wait_timeout that the session set: the server ends the connection by it, whoever has it then. */
function waitTimeoutMs(link: ServerConnection): number {
  const seconds = link.state.variables.get('wait_timeout');
  return seconds === undefined ? Number.POSITIVE_INFINITY : Number(seconds) * 1000;
}

/** Closed now, it would take somebody's LAST_INSERT_ID() with it. */
function hasUnread(link: ServerConnection): boolean {
  return link.insertIdOf?.hasUnreadInsertIdOn(link) === true;
}

/** Its account has other privileges by now, or its server other defaults. */
function isOld({ seat }: ServerConnection): boolean {
  return seat?.expiresMs === 0;
}

export class NodePool {
  readonly node: NodeAddress;
  #limits: PoolLimits;
  #hooks: PoolHooks;
  #lanes = new Map<string, Lane>();
  #seats = new Map<ServerConnection, Seat>();
  /** Free ones that were given back with a LAST_INSERT_ID() that nobody has read. */
  #unread = new Set<ServerConnection>();
  #queue = new FairQueue<LinkRequest>();
  #connecting = 0;
  #held = 0;
  #shared = 0;
  #reserved = 0;
  #tokens: number;
  #tokensMs: number;
  #backOffUntilMs = 0;
  #advancing = false;
  #stats = new PoolStats();
  #load = { due: 0 };
  /** Lanes, with how many connections they are to have before anybody asks for them. */
  #ahead = new Map<Lane, number>();
  #aheadUntilMs = 0;
  /** Another one after everything that may have been the end of the server process: what was known of it is not any more. */
  incarnation = 0;
  /** Reads that would have to wait for what it has not executed yet go elsewhere until then. */
  behindUntilMs = 0;
  /** Accounts, as `profileKey`, whose reads it did not take: not tried again before this time. */
  #refused = new Map<string, number>();

  constructor(node: NodeAddress, limits: PoolLimits, hooks: PoolHooks) {
    this.node = node;
    this.#limits = limits;
    this.#hooks = hooks;
    this.#tokens = limits.connectRate;
    this.#tokensMs = hooks.nowMs();
  }

  lane(profile: LoginProfile, key: string): Lane {
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = new Lane(profile);
      this.#lanes.set(key, lane);
    }
    return lane;
  }

  counts(): { open: number; inUse: number; connecting: number } {
    return {
      open: this.#seats.size - this.#connecting,
      inUse: this.#held + this.#shared,
      connecting: this.#connecting,
    };
  }

  /** Everything that is counted, for who looks now and then. */
  report(): ServerConnectionCounts {
    const { opened, joined, closed } = this.#stats;
    const { open, inUse, connecting } = this.counts();
    return { open, inUse, shared: this.#shared, connecting, waiting: this.#queue.size, opened, closed, joined };
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /** Reads of this account that may be had elsewhere: are they to be sent here? */
  takes(profileKey: string, nowMs: number): boolean {
    return this.#refused.size === 0 || (this.#refused.get(profileKey) ?? 0) <= nowMs;
  }

  refuses(profileKey: string, nowMs: number): void {
    if (this.#refused.size >= MAX_REFUSED) this.#refused.clear();
    this.#refused.set(profileKey, nowMs + REFUSED_MS);
  }

  /** Statements that are under way on the node, or wait to be. */
  get load(): number {
    return this.#load.due + this.#queue.size;
  }

  // ---- getting one ----------------------------------------------------------------------------------------------

  /** A connection at once, or null: then `wait`. One that is not shared is the owner's until `release`. */
  take(request: LinkRequest): ServerConnection | null {
    return this.#grab(request, this.#queue.size === 0);
  }

  /** Waits for a connection. */
  wait(request: LinkRequest): void {
    if (this.#queue.size >= this.#limits.maxWaiting) {
      request.onTimeout(gatewayError('pool-timeout', `${this.#queue.size} statements already wait for ${this.node}`));
      return;
    }
    this.#queue.push(request.group, request);
    this.#counted(request, 1);
    this.#advance();
  }

  /** The request's client left. Whoever stood behind it may be served by what did not suit it. */
  cancel(request: LinkRequest): void {
    this.#dequeue(request);
    if (this.#queue.size > 0) this.#advance();
  }

  #dequeue(request: LinkRequest): void {
    if (this.#queue.remove(request.group, request)) this.#counted(request, -1);
  }

  #counted(request: LinkRequest, by: 1 | -1): void {
    const { lane } = request;
    if (by < 0 || lane.waiting === 0) lane.waitingSinceMs = this.#hooks.nowMs();
    lane.waiting += by;
    if (!this.#mayShare(request)) lane.wantOwn += by;
  }

  #seat(link: ServerConnection): Seat {
    const { seat } = link;
    if (seat === null) throw new Error('a server connection that is not in this pool');
    return seat;
  }

  /** Reads of unknown or great cost share a connection with nobody. */
  #mayShare({ shareable, expectedUs }: LinkRequest): boolean {
    return shareable && expectedUs >= 0 && expectedUs <= BUDGET_US;
  }

  /** `mayTakeFree`: nobody else waits for one. */
  #grab(request: LinkRequest, mayTakeFree: boolean): ServerConnection | null {
    const { lane } = request;
    lane.usedMs = this.#hooks.nowMs();
    const mayShare = this.#mayShare(request);
    if (mayTakeFree && (!mayShare || lane.shared.length < SPREAD)) {
      const free = this.#takeFree(request);
      if (free !== null) return this.#give(free, request, mayShare);
    }
    if (!mayShare) return null;
    const shared = this.#leastQueued(request, true);
    if (shared !== null) return this.#join(shared);
    if (mayTakeFree) {
      const free = this.#takeFree(request);
      if (free !== null) return this.#give(free, request, true);
    }
    // No more connections are to be had: then those that must be brought to the right state first.
    return this.#full ? this.#join(this.#leastQueued(request, false)) : null;
  }

  #join(link: ServerConnection | null): ServerConnection | null {
    if (link !== null) this.#stats.joined++;
    return link;
  }

  #quit(link: ServerConnection, reason: CloseReason): void {
    this.#seat(link).ending = reason;
    link.quit();
  }

  #leastQueued({ lane, wanted, expectedUs }: LinkRequest, same: boolean): ServerConnection | null {
    let best: ServerConnection | null = null;
    for (const link of lane.shared) {
      const seat = this.#seat(link);
      if (
        seat.alone ||
        seat.reserved ||
        isOld(link) ||
        link.depth >= MAX_DEPTH ||
        link.expectedUs + expectedUs > BUDGET_US
      )
        continue;
      if (best !== null && best.expectedUs <= link.expectedUs) continue;
      if (same ? sameState(link.state, wanted) : reachable(link, wanted)) best = link;
    }
    return best;
  }

  #takeFree({ lane, wanted, prefer }: LinkRequest): ServerConnection | null {
    const { free } = lane;
    if (free.length === 0) return null;
    if (prefer !== null && sameState(prefer.state, wanted) && (!isOld(prefer) || hasUnread(prefer))) {
      const at = free.lastIndexOf(prefer);
      if (at >= 0) return removeAt(free, at);
    }
    let found = -1;
    const end = Math.max(0, free.length - LOOK_AHEAD);
    for (let at = free.length - 1; at >= end; at--) {
      const link = free[at] as ServerConnection;
      if (isOld(link)) continue;
      if (sameState(link.state, wanted)) return removeAt(free, at);
      if (found < 0 && reachable(link, wanted)) found = at;
    }
    return found < 0 ? null : removeAt(free, found);
  }

  #give(link: ServerConnection, { shareable, owner }: LinkRequest, open: boolean): ServerConnection {
    const seat = this.#seat(link);
    seat.used = true;
    if (shareable) {
      seat.place = 'shared';
      seat.alone = !open;
      seat.lane.shared.push(link);
      this.#shared++;
    } else {
      seat.place = 'held';
      seat.owner = owner;
      this.#held++;
    }
    return link;
  }

  // ---- giving it back -------------------------------------------------------------------------------------------

  /**
   * Whoever got it does not need it any more. `reusable`: what is left on it is what its state says; else it is closed.
   */
  release(link: ServerConnection, reusable: boolean): void {
    const { seat } = link;
    if (seat?.place === 'shared') return this.#progressed(link);
    if (seat === null || seat.place !== 'held') return;
    this.#held--;
    seat.owner = null;
    if (!reusable || !link.ready || link.busy) {
      seat.place = 'free'; // so that nobody is told of its end
      return link.lose({ kind: 'closed', detail: 'released' });
    }
    this.#setFree(link, seat);
  }

  #leaveShared(link: ServerConnection, seat: Seat): void {
    const at = seat.lane.shared.indexOf(link);
    if (at >= 0) removeAt(seat.lane.shared, at);
    this.#shared--;
    this.#unreserve(seat);
    seat.alone = false;
  }

  #unreserve(seat: Seat): void {
    if (seat.reserved) this.#reserved--;
    seat.reserved = false;
  }

  #setFree(link: ServerConnection, seat: Seat): void {
    if (link.killsUnderWay > 0) return this.#setFreeLater(link, seat);
    const now = this.#hooks.nowMs();
    seat.place = 'free';
    seat.idleSinceMs = now;
    if (hasUnread(link)) this.#unread.add(link);
    else {
      if (now > seat.expiresMs) return this.#quit(link, 'lifetime');
      if (waitTimeoutMs(link) < SHORT_WAIT_MS) return this.#quit(link, 'idle');
    }
    seat.lane.free.push(link);
    if (this.#queue.size > 0) this.#advance();
  }

  /** Until its server has been told of each, a KILL would stop whatever comes next. */
  #setFreeLater(link: ServerConnection, seat: Seat): void {
    seat.place = 'held';
    this.#held++;
    link.onceKillsAreTold = () => {
      if (link.seat !== seat) return; // it was lost
      this.#held--;
      this.#setFree(link, seat);
    };
  }

  #progressed(link: ServerConnection): void {
    const { seat } = link;
    if (seat === null || seat.place !== 'shared') return;
    if (!link.busy) {
      this.#leaveShared(link, seat);
      this.#setFree(link, seat);
    } else if (this.#queue.size > 0) this.#advance();
  }

  /** Its client does not read, or its statement takes long: whoever can goes elsewhere, and nobody comes. */
  leaveAlone(link: ServerConnection): void {
    const { seat } = link;
    if (seat === null || seat.place !== 'shared') return;
    seat.alone = true;
    this.#unreserve(seat);
    if (link.depth > 1) link.divert();
  }

  /**
   * The server has no room for another prepared statement: what is kept for later goes, on this connection and on the
   * free ones. Returns how many.
   */
  shedPrepared(here: ServerConnection | null): number {
    let closed = 0;
    for (const [link, { place }] of this.#seats) {
      if (place !== 'free' && link !== here) continue;
      for (const id of link.prepared.shed()) {
        link.closeStatement(id);
        closed++;
      }
    }
    return closed;
  }

  // ---- time -----------------------------------------------------------------------------------------------------

  /** Several times a second: refuses who waited too long, and looks for slow heads. */
  tick(): void {
    for (const link of this.#unread) {
      if (link.seat?.place !== 'free' || !hasUnread(link)) {
        this.#unread.delete(link);
        if (link.seat?.place === 'free' && isOld(link)) this.#quit(link, 'lifetime');
      } else if (!link.busy) this.#hooks.readInsertId(link);
    }
    if (this.#ahead.size > 0) this.#continueAhead();
    const slowSince = this.#hooks.nowMs() - SLOW_MS;
    if (this.#shared > 0) {
      for (const lane of this.#lanes.values()) {
        for (const link of lane.shared.slice()) if (link.headSinceMs < slowSince) this.leaveAlone(link);
      }
    }
    if (this.#queue.size === 0) return;
    const now = this.#hooks.nowMs();
    for (const request of Array.from(this.#queue)) {
      if (request.deadlineMs > now) continue;
      this.#dequeue(request);
      request.onTimeout(gatewayError('pool-timeout', `all connections to ${this.node} are in use`));
    }
    this.#advance();
    if ((this.#full || now < this.#backOffUntilMs) && this.#queue.size > 0) this.#askBack(now);
  }

  /** Connections that their sessions hold for no more than what may be asked for: as many as are waited for. */
  #askBack(nowMs: number): void {
    let wanted = this.#queue.size - this.#connecting;
    if (wanted <= 0) return;
    for (const { place, owner } of this.#seats.values()) {
      if (place === 'held' && owner?.giveWay(nowMs) === true && --wanted === 0) return;
      if (this.#queue.size === 0) return; // one that was given at once serves several reads
    }
  }

  /** Nobody gets a connection of these users (or of any) any more that is there now; who has one keeps it, as at a server. */
  renew(users?: ReadonlySet<string>): void {
    for (const [link, seat] of Array.from(this.#seats)) {
      if (users?.has(seat.lane.profile.user) === false) continue;
      seat.expiresMs = 0;
      if (seat.place === 'free' && !hasUnread(link)) this.#quit(link, 'lifetime');
    }
  }

  /** Once a second: closes what is idle or old, keeps warm what is used. */
  trim(): void {
    const now = this.#hooks.nowMs();
    const { idleTimeoutMs, minConnections } = this.#limits;
    for (const [key, lane] of this.#lanes) {
      lane.recent = Math.max(lane.members, Math.floor(lane.recent * REMEMBERED));
      const unused = now - lane.usedMs > Math.max(idleTimeoutMs, 10 * 60_000);
      const keep = unused ? 0 : minConnections;
      for (const link of lane.free.slice()) {
        const seat = this.#seat(link);
        if (hasUnread(link)) continue;
        const idleMs = now - seat.idleSinceMs;
        // Long before the server closes it: a write on its way meanwhile would have an unknown outcome.
        const idle = (lane.members > keep && idleMs > idleTimeoutMs) || idleMs > waitTimeoutMs(link) / 2;
        if (idle || now > seat.expiresMs) this.#quit(link, idle ? 'idle' : 'lifetime');
      }
      if (unused && lane.members === 0 && lane.waiting === 0) {
        lane.gone = true;
        this.#lanes.delete(key);
      } else if (!unused && lane.usedMs > 0 && lane.members < keep && !this.#full && this.#mayOpen()) this.#open(lane);
    }
  }

  // ---- ends -----------------------------------------------------------------------------------------------------

  /** The node is no longer one to talk to: nobody keeps a free connection to it, nobody waits for one. */
  evacuate(): void {
    const loss: Loss = { kind: 'closed', detail: `${this.node} left service` };
    this.incarnation++;
    // The queue first: a connection that goes must not be replaced for somebody who waits.
    const waiting = this.#queue.drain();
    this.#ahead.clear();
    for (const request of waiting) this.#counted(request, -1);
    for (const [link, { place }] of Array.from(this.#seats)) {
      if (place === 'free') this.#quit(link, 'left-service');
      // Whoever it is for would send to a node that may not know yet that it is no longer the primary.
      else if (place === 'connecting') link.lose(loss);
    }
    for (const lane of this.#lanes.values()) lane.usedMs = 0;
    for (const request of waiting) request.onLoss(loss);
  }

  closeAll(): void {
    for (const link of Array.from(this.#seats.keys())) link.quit();
  }

  // ---- opening --------------------------------------------------------------------------------------------------

  /** Clients of `other` are going to come here: opens what they had there, as far as the limits allow. */
  openAhead(other: NodePool): void {
    const now = this.#hooks.nowMs();
    for (const [key, { profile, members, recent }] of other.#lanes) {
      const wanted = Math.max(members, recent);
      if (wanted === 0) continue;
      const lane = this.lane(profile, key);
      lane.usedMs = now;
      this.#ahead.set(lane, wanted);
    }
    this.#aheadUntilMs = now + AHEAD_MS;
    this.#continueAhead();
  }

  /** Of what was to be opened ahead, something is still to come. */
  get opensAhead(): boolean {
    return this.#ahead.size > 0 || this.#connecting > 0;
  }

  /** Who waits comes first. */
  #continueAhead(): void {
    if (this.#queue.size > 0) return;
    if (this.#hooks.nowMs() > this.#aheadUntilMs) this.#ahead.clear();
    for (const [lane, wanted] of this.#ahead) {
      while (lane.members < wanted && !this.#full && this.#mayOpen()) this.#open(lane);
      if (lane.members >= wanted || this.#full) this.#ahead.delete(lane);
    }
  }

  /** Serves who waits. What is set off on the way (a connection that goes, a new request) is seen by the loop. */
  #advance(): void {
    if (this.#advancing) return;
    this.#advancing = true;
    try {
      this.#makeRoomForStarved();
      let found: ServerConnection | null = null;
      const served = (request: LinkRequest): boolean => {
        found = this.#grab(request, true);
        return found !== null;
      };
      for (let request = this.#queue.take(served); request !== null; request = this.#queue.take(served)) {
        this.#counted(request, -1);
        request.onLink(found as unknown as ServerConnection);
      }
      for (const lane of this.#lanes.values()) {
        while (lane.connecting < lane.waiting && this.#mayOpen() && this.#makeRoom(lane)) this.#open(lane);
      }
      this.#reserve();
    } finally {
      this.#advancing = false;
    }
  }

  /**
   * Who needs a connection of his own must not starve beside reads that never leave one empty; nor does a read whose
   * account has none to queue it on. One of their own account first; of another's where no more are to be had.
   */
  #reserve(): void {
    let wanted = 0;
    for (const lane of this.#lanes.values()) {
      if (lane.waiting === 0) continue;
      const need = lane.wantOwn > 0 || lane.shared.some(({ seat }) => seat?.alone === false) ? lane.wantOwn : 1;
      wanted += need;
      if (lane.wantOwn > 0) this.#reserveIn(lane, need);
    }
    if (!this.#full) return;
    for (const lane of this.#lanes.values()) {
      if (this.#reserved >= wanted) return;
      this.#reserveIn(lane, Number.POSITIVE_INFINITY, wanted);
    }
  }

  /** Until that many of the lane are reserved, or that many in all. One that is left alone may be so for long. */
  #reserveIn(lane: Lane, here: number, inAll = Number.POSITIVE_INFINITY): void {
    let found = 0;
    for (const link of lane.shared) {
      const seat = this.#seat(link);
      if (seat.alone) continue;
      if (found >= here || this.#reserved >= inAll) return;
      found++;
      if (seat.reserved) continue;
      seat.reserved = true;
      this.#reserved++;
    }
  }

  get #full(): boolean {
    return this.#seats.size >= this.#limits.maxConnections;
  }

  #mayOpen(): boolean {
    const { maxConnecting, connectRate } = this.#limits;
    const now = this.#hooks.nowMs();
    if (this.#connecting >= maxConnecting || now < this.#backOffUntilMs) return false;
    this.#tokens = Math.min(connectRate, this.#tokens + ((now - this.#tokensMs) * connectRate) / 1000);
    this.#tokensMs = now;
    return this.#tokens >= 1;
  }

  /**
   * A lane that has no connection at all must not wait for as long as others use theirs without a pause: a free one goes,
   * though somebody of its own lane waits for it. So it is, after a while, where the other lane has more of them.
   */
  #makeRoomForStarved(): void {
    if (!this.#full || this.#queue.size === 0) return;
    const now = this.#hooks.nowMs();
    for (const lane of this.#lanes.values()) {
      if (lane.waiting === 0 || lane.connecting > 0) continue;
      const { members } = lane;
      if (now - lane.waitingSinceMs < (members === 0 ? STARVED_MS : OVERDUE_MS)) continue;
      if (this.#mayOpen() && this.#makeRoom(lane, members === 0 ? 1 : members + 2)) this.#open(lane);
    }
  }

  /** At the limit, the connection goes that was free for longest, of a lane that has at least so many. */
  #makeRoom(lane: Lane, ofMembers = 1): boolean {
    if (!this.#full) return true;
    let oldest: ServerConnection | null = null;
    let sinceMs = Number.POSITIVE_INFINITY;
    for (const other of this.#lanes.values()) {
      if (other.members < ofMembers) continue;
      // Those of the same lane are left only where they have a state that cannot be undone.
      // Nor those that were opened for somebody who waits: lanes would take them from each other, and nobody be served.
      const link = other.free.find((each) => !hasUnread(each) && (other.waiting === 0 || this.#seat(each).used));
      if (link === undefined || (other === lane && other.free.length > 0 && lane.waiting === 0)) continue;
      const { idleSinceMs } = this.#seat(link);
      if (idleSinceMs >= sinceMs) continue;
      oldest = link;
      sinceMs = idleSinceMs;
    }
    if (oldest !== null) this.#quit(oldest, 'room');
    return oldest !== null;
  }

  #open(lane: Lane): void {
    this.#tokens--;
    this.#connecting++;
    lane.connecting++;
    lane.members++;
    const link = this.#hooks.connect(lane.profile, {
      onReady: () => this.#hooks.setUp(link, () => this.#opened(link)),
      onLost: (loss, inFlight) => this.#onLost(link, loss, inFlight),
      onProgress: (ended, eachUs) => {
        this.#hooks.onProgress(ended, eachUs);
        this.#progressed(link);
      },
    });
    link.load = this.#load;
    const now = this.#hooks.nowMs();
    // Not all at once, where all were opened at once.
    const expiresMs = now + this.#limits.maxLifetimeMs * (0.9 + 0.2 * Math.random());
    const place = 'connecting';
    const flags = { used: false, alone: false, reserved: false, ending: null };
    link.seat = { lane, place, owner: null, idleSinceMs: now, expiresMs, ...flags };
    this.#seats.set(link, link.seat);
  }

  #opened(link: ServerConnection): void {
    const { seat } = link;
    if (seat === null || seat.place !== 'connecting') return;
    this.#stats.opened++;
    this.#connecting--;
    seat.lane.connecting--;
    this.#setFree(link, seat);
    if (this.#ahead.size > 0) this.#continueAhead();
  }

  #onLost(link: ServerConnection, loss: Loss, inFlight: boolean): void {
    const { seat } = link;
    if (loss.kind !== 'closed') this.incarnation++;
    if (seat === null) return;
    const { lane, place, owner } = seat;
    this.#seats.delete(link);
    link.seat = null;
    lane.members--;
    if (place !== 'connecting') this.#stats.ended(loss, seat.ending);
    switch (place) {
      case 'connecting':
        this.#connecting--;
        lane.connecting--;
        this.#ahead.delete(lane);
        this.#notOpened(lane, loss);
        break;
      case 'free': {
        const at = lane.free.indexOf(link);
        if (at >= 0) removeAt(lane.free, at);
        if (loss.kind !== 'closed') this.#hooks.onIdleClosed(this.node, loss);
        break;
      }
      case 'shared':
        this.#leaveShared(link, seat);
        break;
      case 'held':
        this.#held--;
        if (!inFlight && loss.kind !== 'closed') this.#hooks.onIdleClosed(this.node, loss);
        owner?.linkLost(link, loss);
        break;
    }
    if (this.#queue.size > 0) this.#advance();
  }

  /** Whoever has waited longest for it is told, but for a server that is only full: it is waited on. */
  #notOpened(lane: Lane, loss: Loss): void {
    if (loss.kind === 'refused' && FULL.has(loss.err.errno) && lane.members > lane.connecting) {
      this.#backOffUntilMs = this.#hooks.nowMs() + BACK_OFF_MS;
      return;
    }
    for (const request of this.#queue) {
      if (request.lane !== lane) continue;
      this.#dequeue(request);
      return request.onLoss(loss);
    }
  }
}

function removeAt(links: ServerConnection[], at: number): ServerConnection {
  const [link] = at === links.length - 1 ? [links.pop()] : links.splice(at, 1);
  return link as ServerConnection;
}
