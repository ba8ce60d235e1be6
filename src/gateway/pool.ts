// Server connections of one node: how many there are, who has them, who waits.
//
// A session keeps its connection while nobody else needs it. When the limit is reached, the connection that was idle
// for longest is taken from its session, provided that the session's state can be built up again elsewhere. Every
// connection is in exactly one place: connecting, spare (nobody's), held (a session's), or idle (a session's, and may
// be taken); one function moves waiting requests on (`#advance`).
import type { NodeAddress, ServerTlsSettings } from '../messages/index.ts';
import type { ErrPacket } from '../wire/index.ts';
import { gatewayError } from './errors.ts';
import { type LoginProfile, type Loss, ServerConnection } from './server-connection.ts';

/** Who has a connection. */
export interface LinkOwner {
  /** The connection is taken away; the session's state is built up on another one when it is needed. */
  linkTaken(connection: ServerConnection): void;
  /** The connection broke while nothing was in flight on it. */
  linkLost(connection: ServerConnection, loss: Loss): void;
}

export interface LinkRequest {
  profile: LoginProfile;
  /** Equal for equal profiles. */
  key: string;
  /** The session has no default schema: a connection that has had one will not do. */
  withoutSchema: boolean;
  owner: LinkOwner;
  deadlineMs: number;
  onLink(connection: ServerConnection): void;
  onLoss(loss: Loss): void;
  onTimeout(error: ErrPacket): void;
}

export interface PoolLimits {
  maxConnections: number;
  maxConnecting: number;
  connectTimeoutMs: number;
  maxPacketBytes: number;
  /** Requests that wait for a connection. */
  maxWaiting: number;
  /** A connection that nobody has is closed after this time. */
  spareTimeoutMs: number;
}

interface Member {
  connection: ServerConnection;
  key: string;
  place: 'connecting' | 'spare' | 'held' | 'idle';
  owner: LinkOwner | null;
  sinceMs: number;
}

/** How many idle connections are looked at for one of the same account, before any is taken. */
const LOOK_AHEAD = 32;

function fits({ key, connection }: Member, request: LinkRequest): boolean {
  return key === request.key && !(request.withoutSchema && connection.hasSchema);
}

export class NodePool {
  readonly node: NodeAddress;
  #members = new Map<ServerConnection, Member>();
  #spare = new Set<Member>();
  /** In the order in which they fell idle. */
  #idle = new Set<Member>();
  #connecting = 0;
  #advancing = false;
  #queue: LinkRequest[] = [];
  #limits: PoolLimits;
  #tls: ServerTlsSettings;
  #nowMs: () => number;
  #onIdleClosed: (node: NodeAddress, loss: Loss) => void;

  constructor(
    node: NodeAddress,
    limits: PoolLimits,
    tls: ServerTlsSettings,
    nowMs: () => number,
    onIdleClosed: (node: NodeAddress, loss: Loss) => void,
  ) {
    this.node = node;
    this.#limits = limits;
    this.#tls = tls;
    this.#nowMs = nowMs;
    this.#onIdleClosed = onIdleClosed;
  }

  counts(): { open: number; inUse: number; connecting: number } {
    const open = this.#members.size - this.#connecting;
    return { open, inUse: open - this.#spare.size - this.#idle.size, connecting: this.#connecting };
  }

  get waiting(): number {
    return this.#queue.length;
  }

  acquire(request: LinkRequest): void {
    if (this.#queue.length >= this.#limits.maxWaiting) {
      request.onTimeout(gatewayError('pool-timeout', `${this.#queue.length} statements already wait for ${this.node}`));
      return;
    }
    this.#queue.push(request);
    this.#advance();
  }

  /** The request's client left. */
  cancel(request: LinkRequest): void {
    const at = this.#queue.indexOf(request);
    if (at >= 0) this.#queue.splice(at, 1);
  }

  /** Its session is between transactions and can do without it. */
  setIdle(connection: ServerConnection): void {
    const member = this.#members.get(connection);
    if (member === undefined || member.place !== 'held') return;
    member.place = 'idle';
    member.sinceMs = this.#nowMs();
    this.#idle.add(member);
    if (this.#queue.length > 0) this.#advance();
  }

  /** Its session sends something. */
  setHeld(connection: ServerConnection): void {
    const member = this.#members.get(connection);
    if (member === undefined || member.place !== 'idle') return;
    member.place = 'held';
    this.#idle.delete(member);
  }

  /** Its session does not want it any more. `reusable`: nothing is left on it that a reset does not clear. */
  release(connection: ServerConnection, reusable: boolean): void {
    const member = this.#members.get(connection);
    if (member === undefined) return;
    this.#idle.delete(member);
    member.owner = null;
    if (!reusable || connection.busy || !connection.ready) {
      connection.lose({ kind: 'closed', detail: 'released' });
      return;
    }
    member.place = 'spare';
    member.sinceMs = this.#nowMs();
    this.#spare.add(member);
    this.#advance();
  }

  /** Closes connections that nobody has had for long, and refuses who waited too long. */
  tick(): void {
    const now = this.#nowMs();
    for (const member of this.#spare) {
      if (now - member.sinceMs > this.#limits.spareTimeoutMs) member.connection.quit();
    }
    for (const request of this.#queue.filter((each) => each.deadlineMs <= now)) {
      this.cancel(request);
      request.onTimeout(gatewayError('pool-timeout', `all connections to ${this.node} are in use`));
    }
  }

  /** The node is no longer one to talk to: nobody keeps an idle connection to it, nobody waits for one. */
  evacuate(): void {
    const loss: Loss = { kind: 'closed', detail: `${this.node} left service` };
    // The queue first: a connection that goes must not be replaced for somebody who waits.
    const waiting = this.#queue.splice(0);
    const members = [...this.#members.values()];
    for (const { place, connection } of members) {
      if (place === 'spare') connection.quit();
      // Whoever it is for would send to a node that may not know yet that it is no longer the primary.
      else if (place === 'connecting') connection.lose(loss);
    }
    for (const request of waiting) request.onLoss(loss);
  }

  closeAll(): void {
    for (const member of this.#members.values()) member.connection.quit();
  }

  /** Serves who waits, in order. What is set off on the way (a connection that goes, a new request) is seen by the loop. */
  #advance(): void {
    if (this.#advancing) return;
    this.#advancing = true;
    try {
      for (let request = this.#queue[0]; request !== undefined; request = this.#queue[0]) {
        const given = this.#find(request);
        if (given === 'none') return;
        this.#queue.shift();
        if (given === 'open') this.#open(request);
        else this.#give(given, request);
      }
    } finally {
      this.#advancing = false;
    }
  }

  /** A connection for the request, leave to open one, or nothing for now. */
  #find(request: LinkRequest): Member | 'open' | 'none' {
    for (const member of this.#spare) if (fits(member, request)) return member;
    const mayConnect = this.#connecting < this.#limits.maxConnecting;
    if (this.#members.size < this.#limits.maxConnections) return mayConnect ? 'open' : 'none';
    const taken = this.#take(request);
    if (taken === null) return 'none';
    if (fits(taken, request)) return taken;
    if (!mayConnect) return 'none';
    taken.connection.quit();
    return 'open';
  }

  /** Takes a connection that can be spared: nobody's first, then the longest idle, of the same account if possible. */
  #take(request: LinkRequest): Member | null {
    for (const member of this.#spare) return member;
    let oldest: Member | null = null;
    let looked = 0;
    for (const member of this.#idle) {
      oldest ??= member;
      if (fits(member, request)) {
        oldest = member;
        break;
      }
      if (++looked >= LOOK_AHEAD) break;
    }
    if (oldest === null) return null;
    const { owner } = oldest;
    this.#idle.delete(oldest);
    oldest.owner = null;
    oldest.place = 'spare';
    this.#spare.add(oldest);
    owner?.linkTaken(oldest.connection);
    return oldest;
  }

  #give(member: Member, request: LinkRequest): void {
    this.#spare.delete(member);
    member.place = 'held';
    member.owner = request.owner;
    request.onLink(member.connection);
  }

  #open(request: LinkRequest): void {
    this.#connecting++;
    const connection: ServerConnection = new ServerConnection({
      node: this.node,
      profile: request.profile,
      tls: this.#tls,
      connectTimeoutMs: this.#limits.connectTimeoutMs,
      maxPacketBytes: this.#limits.maxPacketBytes,
      onReady: () => {
        const member = this.#members.get(connection);
        if (member === undefined) return;
        this.#connecting--;
        this.#give(member, request);
        this.#advance();
      },
      onLost: (loss, inFlight) => this.#onLost(connection, loss, inFlight, request),
    });
    const { key, owner } = request;
    this.#members.set(connection, { connection, key, place: 'connecting', owner, sinceMs: this.#nowMs() });
  }

  #onLost(connection: ServerConnection, loss: Loss, inFlight: boolean, request: LinkRequest): void {
    const member = this.#members.get(connection);
    if (member === undefined) return;
    this.#members.delete(connection);
    this.#spare.delete(member);
    this.#idle.delete(member);
    switch (member.place) {
      case 'connecting':
        this.#connecting--;
        request.onLoss(loss);
        break;
      case 'spare':
        if (loss.kind !== 'closed') this.#onIdleClosed(this.node, loss);
        break;
      case 'idle':
      case 'held':
        if (!inFlight && loss.kind !== 'closed') this.#onIdleClosed(this.node, loss);
        member.owner?.linkLost(connection, loss);
        break;
    }
    this.#advance();
  }
}
