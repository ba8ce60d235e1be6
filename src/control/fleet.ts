// All workers as one: publishes routing tables, asks questions and waits until every worker has answered. A
// worker that does not answer what must be answered is killed: one that cannot be told that a route is closed must
// not go on sending. What is awaited here is what a switchover relies on, so an answer is never assumed.
import type {
  Account,
  ClusterRoute,
  DigestCounts,
  FromWorker,
  NodeAddress,
  QuiesceTarget,
  ToWorker,
} from '../messages/index.ts';
import { mergeDigests } from './counters.ts';
import type { Log } from './ports.ts';

/** One worker process that has said hello. */
export interface Member {
  readonly index: number;
  readonly pid: number;
  /** False where it cannot be reached now; it may come back, and is then greeted anew. */
  send(message: ToWorker): boolean;
  /** Kills the process. `left` follows when it is gone. */
  kill(reason: string): void;
}

interface Wait {
  pending: Set<Member>;
  /** The worker's answer, or null where the message is none. */
  accept: (message: FromWorker) => boolean;
  replies: FromWorker[];
  settle: () => void;
}

/** A killed process that is still there after this long is beyond our reach. */
const deathDeadlineMs = 5000;

export interface FleetOptions {
  log: Log;
  /** How long a worker may take to apply a route that must be applied. */
  applyTimeoutMs: number;
  /** Table versions start here; above those of an earlier run, for the workers that outlived it. */
  firstVersion: number;
  /** What is paused now. */
  pauses: () => { endpoint: string; leftMs: number }[];
}

export class Fleet {
  readonly #options: FleetOptions;
  readonly #members = new Set<Member>();
  readonly #waits = new Set<Wait>();
  readonly #accounts = new Map<string, Account[]>();
  #version: number;
  /** Null before the first one. */
  #table: Map<string, ClusterRoute> | null = null;
  #nextId = 1;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#version = options.firstVersion;
  }

  get size(): number {
    return this.#members.size;
  }

  /** A worker said hello, for the first time or again. It gets all that it must know. */
  joined(member: Member): void {
    this.#members.add(member);
    for (const [cluster, accounts] of this.#accounts) member.send({ type: 'accounts', cluster, accounts });
    member.send({ type: 'pauses', version: this.#nextId++, pauses: this.#options.pauses() });
    const table = this.#table;
    if (table) member.send({ type: 'routes', version: this.#version, clusters: [...table.values()] });
  }

  /** The process is gone: it can do no harm, so nobody waits for it. */
  left(member: Member): void {
    this.#members.delete(member);
    for (const wait of this.#waits) this.#answered(wait, member);
  }

  message(member: Member, message: FromWorker): void {
    for (const wait of this.#waits) {
      if (!wait.pending.has(member) || !wait.accept(message)) continue;
      wait.replies.push(message);
      this.#answered(wait, member);
    }
  }

  /** To the worker of this index, if it is there. */
  tell(index: number, message: ToWorker): void {
    for (const member of this.#members) if (member.index === index) member.send(message);
  }

  broadcast(message: ToWorker, except?: Member): void {
    for (const member of this.#members) if (member !== except) member.send(message);
  }

  /** Tells all workers, and every worker that comes later. */
  setAccounts(cluster: string, accounts: Account[]): void {
    this.#accounts.set(cluster, accounts);
    this.broadcast({ type: 'accounts', cluster, accounts });
  }

  /** Tells all workers that the accounts are as they know them. */
  confirmAccounts(cluster: string): void {
    this.broadcast({ type: 'accounts', cluster, accounts: null });
  }

  /** Publishes without waiting. Who comes later gets all that was ever published, as it is then. */
  publish(changed: ClusterRoute[]): void {
    this.#version += 1;
    this.#table ??= new Map();
    for (const route of changed) this.#table.set(route.cluster, route);
    this.broadcast({ type: 'routes', version: this.#version, clusters: changed });
  }

  /** Publishes, and resolves when every worker has applied the table or is dead. Rejects where one is neither. */
  async publishAndWait(changed: ClusterRoute[]): Promise<void> {
    this.publish(changed);
    const version = this.#version;
    const applied = (message: FromWorker) => message.type === 'routes-applied' && message.version >= version;
    await this.#wait(applied, this.#options.applyTimeoutMs, 'did not apply a route in time');
  }

  /** Every worker ends what is in flight. Returns how many transactions were ended. */
  async drain(cluster: string, drainMs: number): Promise<number> {
    const id = this.#nextId++;
    this.broadcast({ type: 'drain', id, cluster, drainMs });
    const replies = await this.#wait(
      (message) => message.type === 'drained' && message.id === id,
      drainMs + 2 * this.#options.applyTimeoutMs,
      'did not drain in time',
    );
    return replies.reduce((sum, reply) => sum + (reply.type === 'drained' ? reply.endedTransactions : 0), 0);
  }

  /** Every worker opens to `node` what its clients will need there. How many connections are open in `waitMs`. */
  async openAhead(cluster: string, node: NodeAddress, waitMs: number): Promise<number> {
    const id = this.#nextId++;
    this.broadcast({ type: 'open-ahead', id, cluster, node, waitMs });
    const opened = (message: FromWorker) => message.type === 'opened-ahead' && message.id === id;
    const replies = await this.#wait(opened, waitMs + this.#options.applyTimeoutMs, null);
    return replies.reduce((sum, reply) => sum + (reply.type === 'opened-ahead' ? reply.open : 0), 0);
  }

  /** Tells every worker what is paused now. False where one did not answer in time. */
  async applyPauses(): Promise<boolean> {
    const version = this.#nextId++;
    this.broadcast({ type: 'pauses', version, pauses: this.#options.pauses() });
    const applied = (message: FromWorker) => message.type === 'pauses-applied' && message.version === version;
    const replies = await this.#wait(applied, this.#options.applyTimeoutMs, null);
    return replies.length >= this.#members.size;
  }

  /** Resolves when nothing more is in progress there, or after `waitMs`: with how much still is. */
  async quiesce(of: QuiesceTarget, waitMs: number): Promise<number> {
    const id = this.#nextId++;
    this.broadcast({ type: 'quiesce', id, of, waitMs });
    const quiesced = (message: FromWorker) => message.type === 'quiesced' && message.id === id;
    const replies = await this.#wait(quiesced, waitMs + this.#options.applyTimeoutMs, null);
    return replies.reduce((sum, reply) => sum + (reply.type === 'quiesced' ? reply.inProgress : 0), 0);
  }

  /** What statements of each shape took. Workers that do not answer in time are left out. */
  async digests(): Promise<DigestCounts[]> {
    const id = this.#nextId++;
    this.broadcast({ type: 'digests-report', id });
    const reported = (message: FromWorker) => message.type === 'digests' && message.id === id;
    const replies = await this.#wait(reported, this.#options.applyTimeoutMs, null);
    return mergeDigests(replies.flatMap((reply) => (reply.type === 'digests' ? reply.digests : [])));
  }

  /** What clients noticed of a recovery. Workers that do not answer in time are left out. */
  async impact(cluster: string, recovery: string) {
    const id = this.#nextId++;
    this.broadcast({ type: 'impact-report', id, cluster, recovery });
    const replies = await this.#wait(
      (message) => message.type === 'impact' && message.id === id,
      this.#options.applyTimeoutMs,
      null,
    );
    const total = { heldStatements: 0, longestStallMs: 0, clientErrors: 0 };
    for (const reply of replies) {
      if (reply.type !== 'impact') continue;
      total.heldStatements += reply.impact.heldStatements;
      total.clientErrors += reply.impact.clientErrors;
      total.longestStallMs = Math.max(total.longestStallMs, reply.impact.longestStallMs);
    }
    return total;
  }

  #answered(wait: Wait, member: Member): void {
    if (wait.pending.delete(member) && wait.pending.size === 0) wait.settle();
  }

  /** Waits for one accepted message of every present member; `lateReason` null lets the late ones live. */
  #wait(accept: Wait['accept'], timeoutMs: number, lateReason: string | null): Promise<FromWorker[]> {
    const pending = new Set(this.#members);
    if (pending.size === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout;
      const finish = () => {
        clearTimeout(timer);
        this.#waits.delete(wait);
        resolve(wait.replies);
      };
      const wait: Wait = { pending, accept, replies: [], settle: finish };
      const late = () => {
        if (lateReason === null) return finish();
        for (const member of wait.pending) {
          this.#options.log.error({ worker: member.index, pid: member.pid, reason: lateReason }, 'worker is killed');
          member.kill(lateReason);
        }
        timer = setTimeout(() => {
          this.#waits.delete(wait);
          reject(new Error(`${wait.pending.size} worker(s) neither answered nor died: ${lateReason}`));
        }, deathDeadlineMs);
      };
      timer = setTimeout(late, timeoutMs);
      this.#waits.add(wait);
    });
  }
}
