// The drill: the demo's stage under the drill's load, without the demo's story. Faults strike in a loop; after each, the
// cluster must be whole again before the next. The verdict counts what clients were told against what is there.
import { setTimeout as delay } from 'node:timers/promises';
import {
  CheckedLoad,
  Dice,
  type DrillFault,
  type DrillReport,
  drillReport,
  dropSchema,
  type FaultKind,
  makeSchema,
  type WorkloadLogin,
  wrongErrors,
} from '../drill/index.ts';
import type { Flavor } from '../messages/index.ts';
import { within } from './faults.ts';
import { type Ground, type RealCluster, realGround, sandboxGround } from './ground.ts';
import { ailmentOf } from './repair.ts';
import { withStage } from './stage.ts';

/** What is the same on any ground. */
export interface LoopOptions {
  connections: number;
  /** In this order; kinds that stand together strike together. */
  faults: readonly (readonly FaultKind[])[];
  /** How many times all of them; those of a round after the first come in an order that the dice give. */
  rounds: number;
  /** Ends before the next fault when this is over; no limit where it is null. */
  forMs: number | null;
  /** How long the clients run undisturbed before each fault and after the last. */
  seconds: number;
  seed: number;
  progress: (line: string) => void;
}

export interface DrillOptions extends LoopOptions {
  flavor: Flavor;
  nodes: number;
  /** The script that this command runs as: Evenkeel is started with it. */
  main: string;
}

/** What `drill --json` prints (design.md section 3); keys may be added, never renamed. */
export interface DrillResult extends DrillReport {
  readsChecked: number;
  /** Confirmed transactions: transfers and appends. */
  transactions: number;
  connections: number;
  /** Those in `lostWithWorker`, and those that fail the drill. */
  connectionsLost: number;
  /** Former primaries that were kept out with transactions that nobody was told of, and were built anew. */
  rebuilt: number;
  drivers: readonly string[];
  seed: number;
  flavor: Flavor;
}

const PAUSE_MS = 20;
/** A little longer than Evenkeel holds a statement. */
const STUCK_AFTER_MS = 32_000;
/** The verdict is clear by then. */
const STUCK_AFTER_FAILURE_MS = 2000;
/** Between the first and the last of those that strike together. */
const TOGETHER_MS = 400;
const BRINGS_DOWN: ReadonlySet<FaultKind> = new Set(['kill', 'kill-in-commit', 'freeze']);

class Drill {
  readonly #ground: Ground;
  readonly #options: LoopOptions;
  readonly #load: CheckedLoad;
  readonly #dice: Dice;
  readonly #faults: DrillFault[] = [];
  /** What did not happen that should have, in sentences. */
  readonly #missing: string[] = [];
  /** Primaries that went down since the cluster was whole. */
  readonly #down = new Set<string>();
  #rebuilt = 0;

  constructor(ground: Ground, options: LoopOptions, load: CheckedLoad) {
    this.#ground = ground;
    this.#options = options;
    this.#load = load;
    this.#dice = new Dice(options.seed);
  }

  async play(): Promise<DrillResult> {
    const { connections, faults, rounds, forMs, seed, progress } = this.#options;
    const [ground, load] = [this.#ground, this.#load];
    const { drivers } = load;
    progress(
      `seed ${seed}; ${connections} clients over ${drivers.join(' and ')} write, transfer, append, read and compare`,
    );
    for (let round = 0; round < rounds; round += 1) {
      for (const kinds of round === 0 ? faults : this.#dice.shuffled(faults)) {
        if (this.#hasFailed || (forMs !== null && load.nowMs() > forMs)) break;
        await this.#next(kinds);
      }
    }
    await this.#calm();
    await load.stop(this.#hasFailed ? STUCK_AFTER_FAILURE_MS : STUCK_AFTER_MS);
    progress('the clients have stopped; all that is there is compared with what they were told');
    const { errors, timeline, periods, readsChecked, transactions, connectionsLost } = load;
    if (load.gaveUp) this.#missing.push(`after ${errors.length} errors the clients stopped`);
    if (this.#hasFailed) for (const line of await ground.recoveries()) progress(line);
    // A cluster that has failed may let nobody through any more: then the node that is called its primary is asked itself.
    const audit = await load.audit(this.#hasFailed ? await ground.past() : null);
    const report = drillReport({
      audit,
      errors,
      faults: this.#faults,
      timeline,
      periods,
      missing: this.#missing,
    });
    const counts = { readsChecked, transactions, connections, connectionsLost, rebuilt: this.#rebuilt };
    return { ...report, ...counts, drivers, seed, flavor: ground.flavor };
  }

  /** Then more faults would prove nothing more. */
  get #hasFailed(): boolean {
    return this.#missing.length > 0 || wrongErrors(this.#load.errors, this.#faults) > 0;
  }

  /** The cluster becomes whole, and the clients run undisturbed for a while; less where the drill has failed. */
  async #calm(): Promise<void> {
    const { seconds, progress } = this.#options;
    const wrong = await this.#ground.whole({
      progress,
      rebuilt: () => {
        this.#rebuilt += 1;
      },
      enough: () => this.#hasFailed,
      wentDown: (name) => this.#down.has(name),
    });
    if (wrong !== null) this.#missing.push(wrong);
    this.#down.clear();
    await within(seconds * 1000, () => Promise.resolve(this.#hasFailed));
  }

  async #next(kinds: readonly FaultKind[]): Promise<void> {
    const { progress } = this.#options;
    const [load, dice] = [this.#load, this.#dice];
    await this.#calm();
    if (this.#hasFailed) return;
    const victim = await this.#ground.primary();
    if (victim === null) {
      this.#missing.push('Evenkeel named no primary');
      return;
    }
    load.newPeriod();
    if (kinds.some((kind) => BRINGS_DOWN.has(kind))) this.#down.add(victim);
    const fault = { kinds, node: victim, atMs: load.nowMs(), doneMs: Number.POSITIVE_INFINITY };
    this.#faults.push(fault);
    const waits = kinds.map((_, at) => (at === 0 ? 0 : dice.below(TOGETHER_MS)));
    const strikes = kinds.map((kind, at) => this.#strike(kind, victim, waits[at] ?? 0, kinds.length === 1));
    const wrong = (await Promise.all(strikes)).filter((one) => one !== null);
    fault.doneMs = load.nowMs();
    this.#missing.push(...wrong);
    const longestMs = Math.round(load.timeline.longestMs(fault.atMs));
    const told = wrong.length === 0 ? `the longest wait was ${longestMs} ms` : wrong.join('; ');
    const rolledBack = load.periods.reduce(
      (sum, { expected }) => sum + expected.deadlock + expected['replay-differed'],
      0,
    );
    const name = kinds.join('+');
    progress(
      `${this.#faults.length}. ${name} (${victim} was the primary): ${told}; so far ${load.acknowledged} writes confirmed, ${rolledBack} transactions rolled back (1213), ${wrongErrors(load.errors, this.#faults)} errors`,
    );
  }

  async #strike(kind: FaultKind, primary: string, waitMs: number, alone: boolean): Promise<string | null> {
    await delay(waitMs);
    return this.#ground.strike(kind, primary, alone, () => this.#hasFailed);
  }
}

async function playOn(ground: Ground, login: WorkloadLogin, options: LoopOptions): Promise<DrillResult> {
  const { connections, seed } = options;
  const load = await CheckedLoad.start({ login, connections, pauseMs: PAUSE_MS, stuckAfterMs: STUCK_AFTER_MS, seed });
  try {
    return await new Drill(ground, options, load).play();
  } finally {
    // Where something threw, the clients still run.
    await load.stop();
  }
}

/** Resolves with what came out, pass or fail. Rejects where the servers or Evenkeel do not start. */
export async function runDrill(options: DrillOptions): Promise<DrillResult> {
  const { flavor, main, nodes, progress } = options;
  return withStage({ flavor, main, nodes, progress }, async (stage) => {
    const login = { host: '127.0.0.1', port: stage.port, ...stage.sandbox.app };
    try {
      return await playOn(sandboxGround(stage, nodes), login, options);
    } catch (error) {
      // The sandbox goes, and with it what its servers had to say.
      throw new Error(`${error instanceof Error ? error.message : String(error)}${await stage.fallen()}`, {
        cause: error,
      });
    }
  });
}

/** The same on a user's own cluster, in a schema that it makes and takes away; `login` names no schema yet. */
export async function runDrillOn(
  cluster: RealCluster,
  login: Omit<WorkloadLogin, 'database'>,
  schema: string,
  options: LoopOptions,
): Promise<DrillResult> {
  const wrong = ailmentOf(await cluster.status());
  if (wrong !== null) throw new Error(`the cluster is not whole, and a drill could make it worse: ${wrong}`);
  await makeSchema(login, schema);
  try {
    return await playOn(realGround(cluster), { ...login, database: schema }, options);
  } finally {
    await dropSchema(login, schema);
  }
}
