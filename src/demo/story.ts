// What happens in the demo, in its order: clients run, a switchover, clients run on, kill -9 of the primary, clients run
// on, the audit. It decides nothing about the verdict but that each fault must have been survived.
import { setTimeout as delay } from 'node:timers/promises';
import { type Audit, type Fault, type Judgement, judge, Workload } from '../drill/index.ts';
import type { ClusterStatus } from '../http/api.ts';
import type { RecoveryRecord } from '../recovery/types.ts';
import type { SandboxNode } from '../sandbox/index.ts';
import { type Note, type Scene, sceneNodes, showWait } from './scene.ts';
import type { Screen } from './screen.ts';
import type { Stage } from './stage.ts';

export interface StoryOptions {
  connections: number;
  title: string;
  /** How the servers' program is called, e.g. `mariadbd`. */
  program: string;
}

export interface StoryEnd {
  workload: Workload;
  audit: Audit;
  judgement: Judgement;
  connected: number;
  readsChecked: number;
}

/** Enough for a busy application, and little enough that a small machine is not the bottleneck. */
const PAUSE_MS = 20;
const TICK_MS = 100;
const STATUS_EVERY_MS = 200;
const BEFORE_SWITCHOVER_MS = 3500;
const BETWEEN_MS = 4500;
const AFTER_KILL_MS = 4500;
const FAILOVER_TIMEOUT_MS = 15_000;
/** A little longer than Evenkeel holds a statement. */
const STUCK_AFTER_MS = 32_000;

class Story {
  readonly #stage: Stage;
  readonly #screen: Screen;
  readonly #options: StoryOptions;
  readonly #notes: Note[] = [];
  readonly faults: Fault[] = [];
  /** What did not happen that should have, in sentences. */
  readonly missing: string[] = [];
  #workload: Workload | null = null;
  #cluster: ClusterStatus | null = null;

  constructor(stage: Stage, screen: Screen, options: StoryOptions) {
    this.#stage = stage;
    this.#screen = screen;
    this.#options = options;
  }

  async play(): Promise<StoryEnd> {
    const { sandbox, port } = this.#stage;
    const stopDrawing = this.#drawing();
    try {
      this.#note('plain', `${this.#options.title}: three servers, semi-synchronous replication, Evenkeel in front`);
      const { connections } = this.#options;
      const login = { host: '127.0.0.1', port, ...sandbox.app };
      const workload = await Workload.start({
        login,
        connections,
        pauseMs: PAUSE_MS,
        table: 'evenkeel_demo',
        stuckAfterMs: STUCK_AFTER_MS,
      });
      this.#workload = workload;
      this.#note(
        'plain',
        `${connections} clients write rows, read them back and compare, each on one connection to ${this.#endpoint}`,
      );
      await delay(BEFORE_SWITCHOVER_MS);
      await this.#switchover(workload);
      await delay(BETWEEN_MS);
      await this.#kill(workload);
      await delay(AFTER_KILL_MS);
      const { connected, readsChecked } = workload.state();
      await workload.stop();
      this.#note('plain', 'the clients have stopped; every row is compared with what its client was told');
      const audit = await workload.audit();
      const { errors, furtherErrors, timeline } = workload;
      const judgement = judge({
        audit,
        errors,
        furtherErrors,
        faults: this.faults,
        timeline,
        inFlight: 'exactly-once',
      });
      if (this.missing.length > 0) {
        judgement.verdict = 'fail';
        judgement.reasons.push(...this.missing);
      }
      return { workload, audit, judgement, connected, readsChecked };
    } finally {
      await stopDrawing();
      // Where something threw, the clients still run.
      if (this.#workload !== null) await this.#workload.stop();
    }
  }

  get #endpoint(): string {
    return `127.0.0.1:${this.#stage.port}`;
  }

  async #switchover(workload: Workload): Promise<void> {
    const from = await this.#primary();
    const atMs = workload.nowMs();
    this.#note(
      'command',
      `$ evenkeel switchover     (a planned move of the primary, now ${from?.name}, under full load)`,
    );
    const fault: Fault = { kind: 'switchover', node: from?.name ?? 'none', atMs, doneMs: atMs };
    this.faults.push(fault);
    try {
      const record = await this.#stage.switchover();
      fault.doneMs = workload.nowMs();
      // The command takes a while to start; the picture shows when Evenkeel began.
      fault.atMs = Math.max(atMs, fault.doneMs - (Date.now() - Date.parse(record.startedAt)));
      const to = this.#stage.node(record.to)?.name ?? 'another node';
      const longest = workload.timeline.longestMs(fault.atMs);
      this.#note(
        'good',
        `${to} is the primary now; ${this.#noticed(workload, fault)}, and the longest wait was ${showWait(longest)}`,
      );
    } catch (error) {
      fault.doneMs = workload.nowMs();
      this.missing.push(`the switchover was not carried out: ${(error as Error).message}`);
      this.#note('bad', (error as Error).message);
    }
  }

  async #kill(workload: Workload): Promise<void> {
    const victim = await this.#primary();
    if (victim === null) {
      this.missing.push('there was no primary to kill');
      return;
    }
    const pid = this.#stage.sandbox.nodes.find(({ name }) => name === victim.name)?.pid;
    const fault: Fault = { kind: 'kill', node: victim.name, atMs: workload.nowMs(), doneMs: Number.POSITIVE_INFINITY };
    const wallMs = Date.now();
    this.faults.push(fault);
    this.#note(
      'fault',
      `$ kill -9 ${pid}     (${victim.name}, the primary's ${this.#options.program}: no warning, no goodbye)`,
    );
    await this.#stage.kill(victim);
    fault.doneMs = workload.nowMs();
    const record = await this.#failover(victim);
    if (record === null) {
      this.missing.push(`no replica was promoted within ${showWait(FAILOVER_TIMEOUT_MS)}`);
      this.#note('bad', `no replica was promoted; Evenkeel said: ${this.#stage.said(2)}`);
      return;
    }
    const knownMs = Math.max(0, Date.parse(record.startedAt) - wallMs);
    // The kernel takes a killed server apart before it closes its sockets: until then, statements still go into them.
    fault.doneMs = Math.max(fault.doneMs, fault.atMs + knownMs);
    const to = this.#stage.node(record.to)?.name ?? 'another node';
    this.#note(
      'plain',
      `Evenkeel knew after ${showWait(knownMs)}, let the statements wait, and promoted ${to} in ${showWait(record.durationMs)}`,
    );
    await delay(1000);
    const longest = workload.timeline.longestMs(fault.atMs);
    const lost =
      workload.state().connected === this.#options.connections ? 'no connection was lost' : 'connections were lost';
    this.#note(
      'good',
      `the clients go on; ${lost}, ${this.#noticed(workload, fault)}; the longest wait was ${showWait(longest)}`,
    );
  }

  /** The errors since a fault, in words. */
  #noticed(workload: Workload, fault: Fault): string {
    const since = workload.errors.filter(({ answeredMs }) => answeredMs >= fault.atMs);
    if (since.length === 0) return 'no client got an error';
    const unknown = since.filter(({ kind, verdict }) => kind === 'write' && verdict === 'unknown').length;
    if (unknown < since.length) return `clients got ${since.length} errors`;
    return unknown === 1
      ? 'one write that was on its way got the honest answer "unknown"'
      : `${unknown} writes that were on their way got the honest answer "unknown"`;
  }

  async #primary(): Promise<SandboxNode | null> {
    return this.#stage.node((await this.#stage.status())?.clusters[0]?.primary ?? null);
  }

  /** The failover from `victim`, when it has been done; null where it is not done in time. */
  async #failover(victim: SandboxNode): Promise<RecoveryRecord | null> {
    const end = performance.now() + FAILOVER_TIMEOUT_MS;
    while (performance.now() < end) {
      const records = await this.#stage.history();
      const done = records.find(({ kind, outcome, from }) => {
        return kind === 'failover' && outcome === 'done' && this.#stage.node(from) === victim;
      });
      if (done !== undefined) return done;
      await delay(TICK_MS);
    }
    return null;
  }

  #note(kind: Note['kind'], text: string): void {
    this.#notes.push({ atMs: this.#workload?.nowMs() ?? 0, kind, text });
  }

  #scene(): Scene {
    const workload = this.#workload;
    return {
      title: `evenkeel demo: ${this.#options.title}`,
      elapsedMs: workload?.nowMs() ?? 0,
      endpoint: this.#endpoint,
      clients: this.#options.connections,
      nodes: sceneNodes(this.#stage.sandbox, this.#cluster),
      workload: workload?.state() ?? null,
      slices: workload?.timeline.slices ?? [],
      notes: this.#notes,
    };
  }

  /** Draws and looks at the cluster until it is told to stop; the last picture is complete. */
  #drawing(): () => Promise<void> {
    const end = new AbortController();
    const { signal } = end;
    const every = async (ms: number, work: () => unknown): Promise<void> => {
      while (!signal.aborted) {
        await work();
        await delay(ms, null, { signal }).catch(() => {});
      }
    };
    const look = async (): Promise<void> => {
      this.#cluster = (await this.#stage.status())?.clusters[0] ?? this.#cluster;
    };
    const loops = [every(TICK_MS, () => this.#screen.show(this.#scene())), every(STATUS_EVERY_MS, look)];
    return async () => {
      end.abort();
      await Promise.all(loops);
      this.#screen.show(this.#scene());
    };
  }
}

/** Plays the story on a stage that stands, and judges it. Rejects where it cannot even begin. */
export async function playStory(stage: Stage, screen: Screen, options: StoryOptions): Promise<StoryEnd> {
  return new Story(stage, screen, options).play();
}
