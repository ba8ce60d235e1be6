// Starts the workers, keeps them running, and takes over those of an earlier control process. A worker that dies is
// started again after a growing pause; only its own clients are lost. Workers are detached: they outlive a
// crash of this process, and come back over the same socket path to whoever runs next.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { BREAKS_PROMISES, type FromWorker, type GatewaySettings, type ToWorker } from '../messages/index.ts';
import { type ChannelServer, type Link, listenChannel } from './channel.ts';
import type { Member } from './fleet.ts';
import type { Clock, Log } from './ports.ts';
import { assertAddressesFree, isOurWorker, processLives, readWorkersFile, writeWorkersFile } from './processes.ts';

/** Passed on to workers; everything else, secrets among it, is not. */
const passedEnvironment = [
  'PATH',
  'HOME',
  'TZ',
  'LANG',
  'LC_ALL',
  'TMPDIR',
  'NODE_OPTIONS',
  'NODE_EXTRA_CA_CERTS',
  BREAKS_PROMISES,
];

export interface SupervisorOptions {
  stateDir: string;
  socketPath: string;
  workerEntry: URL;
  workers: number;
  settings: GatewaySettings;
  /** Workers of an earlier run are taken over only if they were started with the same. */
  settingsHash: string;
  log: Log;
  clock: Clock;
  timeouts?: Partial<SupervisorTimeouts>;
  onJoined: (member: Member) => void;
  onLeft: (member: Member) => void;
  onMessage: (member: Member, message: FromWorker) => void;
  /** The channel's listener failed: no worker can come back. */
  onChannelLost: (error: Error) => void;
  onState: (worker: number, state: 'started' | 'listening' | 'exited', detail: string) => void;
}

export interface SupervisorTimeouts {
  /** For the workers of an earlier run to say hello. */
  adoptMs: number;
  /** From spawn to `listening`. */
  startMs: number;
  /** A live worker without its channel is killed after this. */
  reconnectMs: number;
  /** First pause before a restart; doubles up to `backoffMaxMs`. */
  backoffMs: number;
  backoffMaxMs: number;
  /** For a fresh listener's address to become free. */
  addressMs: number;
}

const defaultTimeouts: SupervisorTimeouts = {
  adoptMs: 1000,
  startMs: 30_000,
  reconnectMs: 1000,
  backoffMs: 100,
  backoffMaxMs: 5000,
  addressMs: 3000,
};

/** Deaths in a row, while `start` waits, that make it fail. */
const startAttempts = 3;
/** A worker that ran this long starts its backoff anew. */
const stableMs = 10_000;
const deathPollMs = 50;
/** Workers tell their counters all the time. One that is silent for so many seconds of ours is stuck. */
const maxSilentSeconds = 15;

class Worker implements Member {
  readonly index: number;
  readonly pid: number;
  readonly startedAt: number;
  /** Null for one that was taken over: its death is polled. */
  readonly child: ChildProcess | null;
  link: Link | null = null;
  listening = false;
  joined = false;
  gone = false;
  retiring = false;
  /** What it said last about why it ends. */
  failure = '';
  timer: NodeJS.Timeout | undefined;
  /** Counted in our own ticks: when the whole machine stood still, nobody was silent. */
  silentSeconds = 0;

  constructor(index: number, pid: number, child: ChildProcess | null, startedAt: number) {
    this.index = index;
    this.pid = pid;
    this.child = child;
    this.startedAt = startedAt;
  }

  send(message: ToWorker): boolean {
    return this.link?.send(message) ?? false;
  }

  kill(reason: string): void {
    this.failure ||= reason;
    try {
      process.kill(this.pid, 'SIGKILL');
    } catch {
      // It is gone already; its exit event tells.
    }
  }
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #timeouts: SupervisorTimeouts;
  readonly #slots: (Worker | null)[];
  readonly #failuresInRow: number[];
  /** Workers that were told to end and no longer stand in a slot. */
  readonly #leaving = new Set<Worker>();
  readonly #restartTimers = new Set<NodeJS.Timeout>();
  #server: ChannelServer | null = null;
  /** Pids of an earlier run that may still say hello. */
  #adoptable = new Map<number, number>();
  #earlier = new Set<number>();
  #sameSettings = false;
  #stopping = false;
  #startFailed: ((error: Error) => void) | null = null;
  readonly #waiting = new Set<() => void>();
  #watch: NodeJS.Timeout | undefined;
  restarts = 0;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#timeouts = { ...defaultTimeouts, ...options.timeouts };
    this.#slots = Array.from({ length: options.workers }, () => null);
    this.#failuresInRow = this.#slots.map(() => 0);
  }

  /** Workers that serve, by index. */
  up(): boolean[] {
    return this.#slots.map((worker) => worker?.listening === true && !worker.gone);
  }

  pids(): number[] {
    return this.#slots.flatMap((worker) => (worker ? [worker.pid] : []));
  }

  /** Resolves when all workers listen. Rejects with a sentence for the operator; nothing is left running then. */
  async start(): Promise<void> {
    this.#server = await listenChannel(this.#options.socketPath, {
      onLink: (link) => this.#accept(link),
      onLost: this.#options.onChannelLost,
    });
    try {
      const adopted = await this.#adopt();
      // Addresses that an earlier run's workers give up now become free in a moment.
      const waitMs = this.#earlier.size > 0 ? this.#timeouts.addressMs : 0;
      if (adopted === 0) await assertAddressesFree(this.#options.settings.endpoints, waitMs);
      const failed = new Promise<never>((_, reject) => {
        this.#startFailed = reject;
      });
      failed.catch(() => undefined);
      for (const [index, worker] of this.#slots.entries()) if (!worker) this.#spawn(index);
      await Promise.race([failed, this.#until(() => this.up().every(Boolean), this.#timeouts.startMs)]);
      if (!this.up().every(Boolean)) throw new Error('workers did not begin to listen in time');
      this.#startFailed = null;
      this.#watch = setInterval(() => this.#killSilent(), 1000);
    } catch (error) {
      this.#startFailed = null;
      await this.stop(0);
      throw error;
    }
  }

  /** Lets workers finish for at most `drainMs`, then kills what is left. */
  async stop(drainMs: number): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#watch);
    for (const timer of this.#restartTimers) clearTimeout(timer);
    const all = () => [...this.#slots.filter((worker) => worker !== null), ...this.#leaving];
    for (const worker of all()) this.#retire(worker, drainMs);
    if (drainMs > 0) await this.#until(() => all().length === 0, drainMs + 500);
    for (const worker of all()) worker.kill('did not finish in time');
    await this.#until(() => all().length === 0, 5000);
    await this.#server?.close();
    this.#save();
  }

  /** Waits for the workers of an earlier run; returns how many were taken over. */
  async #adopt(): Promise<number> {
    const file = readWorkersFile(this.#options.stateDir);
    // A hello over our socket proves that the number was not given to another process since.
    const living = file.workers.filter(({ pid }) => processLives(pid));
    this.#sameSettings = file.hash === this.#options.settingsHash;
    this.#adoptable = new Map(living.map(({ pid, worker }) => [pid, worker]));
    this.#earlier = new Set(living.map(({ pid }) => pid));
    await this.#until(() => this.#adoptable.size === 0, living.length === 0 ? 0 : this.#timeouts.adoptMs);
    // Those that stay silent would go on sending by a route that nobody can close.
    for (const pid of this.#adoptable.keys()) {
      if (!isOurWorker(pid, this.#options.socketPath)) continue;
      this.#options.log.warn({ pid }, 'a worker of an earlier run does not answer and is killed');
      process.kill(pid, 'SIGKILL');
    }
    this.#adoptable.clear();
    return this.#slots.filter((worker) => worker !== null).length;
  }

  /** A connection is nobody's until its hello. */
  #accept(link: Link): void {
    const timer = setTimeout(() => link.close('no hello'), 5000);
    link.onClose = () => clearTimeout(timer);
    link.onMessage = (message) => {
      clearTimeout(timer);
      if (message.type !== 'hello') return link.close('a message before hello');
      const worker = this.#identify(message.pid, message.worker);
      if (!worker) return link.close('not one of ours');
      this.#greet(worker, link);
    };
  }

  #identify(pid: number, index: number | null): Worker | null {
    const known = [...this.#slots, ...this.#leaving].find((worker) => worker?.pid === pid && !worker.gone);
    if (known) return known;
    if (!this.#earlier.has(pid)) return null;
    this.#adoptable.delete(pid);
    const worker = new Worker(index ?? -1, pid, null, this.#options.clock.nowMs());
    worker.timer = setInterval(() => {
      if (!processLives(pid)) this.#exited(worker, 'ended');
    }, deathPollMs);
    const fits = index !== null && this.#sameSettings && index in this.#slots && !this.#slots[index];
    if (fits && !this.#stopping) {
      worker.listening = true;
      this.#slots[index] = worker;
      this.#options.log.info({ worker: index, pid }, 'worker of an earlier run taken over');
      this.#save();
    } else {
      worker.retiring = true;
      this.#leaving.add(worker);
      this.#options.log.info({ pid }, 'worker of an earlier run is retired: the settings are not the same');
    }
    return worker;
  }

  #greet(worker: Worker, link: Link): void {
    worker.link?.close('replaced by a newer connection');
    worker.link = link;
    link.onMessage = (message) => this.#received(worker, message);
    link.onClose = (reason) => {
      if (worker.link !== link) return;
      worker.link = null;
      this.#disconnected(worker, reason);
    };
    const { settings, workers } = this.#options;
    if (worker.retiring) {
      // It still sends: it must hear of closed routes until its last transaction ended.
      worker.joined = true;
      this.#options.onJoined(worker);
      link.send({ type: 'retire', drainMs: settings.drainTimeoutMs });
      this.#wake();
      return;
    }
    link.send({ type: 'configure', worker: worker.index, workers, settings });
    worker.joined = true;
    this.#options.onJoined(worker);
    this.#wake();
  }

  #received(worker: Worker, message: FromWorker): void {
    worker.silentSeconds = 0;
    switch (message.type) {
      case 'listening':
        if (!worker.listening) {
          worker.listening = true;
          if (worker.child) clearTimeout(worker.timer);
          this.#options.onState(worker.index, 'listening', '');
          this.#wake();
        }
        return;
      case 'failed':
        worker.failure = message.error;
        this.#options.log.error({ worker: worker.index, error: message.error }, 'worker failed');
        return;
      case 'retired':
        worker.retiring = true;
        return;
      case 'hello':
        return;
      default:
        this.#options.onMessage(worker, message);
    }
  }

  #disconnected(worker: Worker, reason: string): void {
    if (worker.gone) return;
    const timer = setTimeout(() => {
      this.#restartTimers.delete(timer);
      if (worker.gone || worker.link || worker.retiring) return;
      this.#options.log.error(
        { worker: worker.index, pid: worker.pid, reason },
        'worker lost its channel and is killed',
      );
      worker.kill('lost its channel');
    }, this.#timeouts.reconnectMs);
    timer.unref();
    this.#restartTimers.add(timer);
  }

  #killSilent(): void {
    for (const worker of [...this.#slots, ...this.#leaving]) {
      if (!worker?.link) continue;
      worker.silentSeconds += 1;
      if (worker.silentSeconds < maxSilentSeconds) continue;
      this.#options.log.error(
        { worker: worker.index, pid: worker.pid, reason: 'silent' },
        'worker is stuck and is killed',
      );
      worker.kill('said nothing for too long');
    }
  }

  #spawn(index: number): void {
    if (this.#stopping) return;
    const { workerEntry, socketPath, clock, log } = this.#options;
    const env: NodeJS.ProcessEnv = {};
    for (const name of passedEnvironment) if (process.env[name] !== undefined) env[name] = process.env[name];
    const child = spawn(
      process.execPath,
      [fileURLToPath(workerEntry), '--control', socketPath, '--worker', String(index)],
      { stdio: ['ignore', 'inherit', 'inherit'], detached: true, env },
    );
    if (child.pid === undefined) {
      child.once('error', (error) => this.#restartLater(index, error.message));
      return;
    }
    const worker = new Worker(index, child.pid, child, clock.nowMs());
    this.#slots[index] = worker;
    worker.timer = setTimeout(() => worker.kill('did not begin to listen in time'), this.#timeouts.startMs);
    child.once('exit', (code, signal) => {
      this.#exited(worker, worker.failure || (signal ? `signal ${signal}` : `exit status ${code}`));
    });
    log.info({ worker: index, pid: child.pid }, 'worker started');
    this.#options.onState(index, 'started', '');
    this.#save();
  }

  #exited(worker: Worker, detail: string): void {
    if (worker.gone) return;
    worker.gone = true;
    clearInterval(worker.timer);
    worker.link?.close('process ended');
    if (worker.joined) this.#options.onLeft(worker);
    this.#leaving.delete(worker);
    if (this.#slots[worker.index] === worker) {
      this.#slots[worker.index] = null;
      this.#options.onState(worker.index, 'exited', detail);
      this.#save();
      if (!this.#stopping) this.#restartLater(worker.index, detail, worker);
    }
    this.#wake();
  }

  #restartLater(index: number, detail: string, worker?: Worker): void {
    const stable = worker !== undefined && this.#options.clock.nowMs() - worker.startedAt > stableMs;
    const failures = stable ? 1 : (this.#failuresInRow[index] ?? 0) + 1;
    this.#failuresInRow[index] = failures;
    if (this.#startFailed && failures >= startAttempts) {
      this.#startFailed(new Error(`worker ${index} did not start: ${detail}`));
      return;
    }
    this.restarts += 1;
    const pauseMs = Math.min(this.#timeouts.backoffMs * 2 ** (failures - 1), this.#timeouts.backoffMaxMs);
    this.#options.log.error({ worker: index, reason: detail, pauseMs }, 'worker ended and is started again');
    const timer = setTimeout(() => {
      this.#restartTimers.delete(timer);
      this.#spawn(index);
    }, pauseMs);
    this.#restartTimers.add(timer);
  }

  #retire(worker: Worker, drainMs: number): void {
    worker.retiring = true;
    if (!worker.send({ type: 'retire', drainMs })) worker.kill('cannot be told to retire');
  }

  #save(): void {
    const workers = this.#slots.flatMap((worker, index) => (worker ? [{ pid: worker.pid, worker: index }] : []));
    for (const worker of this.#leaving) workers.push({ pid: worker.pid, worker: -1 });
    const { stateDir, settingsHash, socketPath } = this.#options;
    writeWorkersFile(stateDir, { hash: settingsHash, socketPath, workers });
  }

  /** Resolves when `condition` holds, which is looked at after every change, or when the time is over. */
  async #until(condition: () => boolean, timeoutMs: number): Promise<void> {
    const deadline = this.#options.clock.nowMs() + timeoutMs;
    while (!condition()) {
      const left = deadline - this.#options.clock.nowMs();
      if (left <= 0) return;
      await new Promise<void>((resolve) => {
        const done = () => {
          clearTimeout(timer);
          this.#waiting.delete(done);
          resolve();
        };
        const timer = setTimeout(done, left);
        this.#waiting.add(done);
      });
    }
  }

  #wake(): void {
    for (const done of this.#waiting) done();
  }
}
