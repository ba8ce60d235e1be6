// The drill: the demo's stage under the drill's load, without the demo's story. Faults strike in a loop; after each, the
// cluster must be whole again before the next. The verdict counts what clients were told against what is there.
import { setTimeout as delay } from 'node:timers/promises';
import {
  CheckedLoad,
  Dice,
  type DrillFault,
  type DrillReport,
  drillReport,
  type FaultKind,
  wrongErrors,
} from '../drill/index.ts';
import type { Flavor } from '../messages/index.ts';
import type { SandboxNode } from '../sandbox/index.ts';
import { strike, within } from './faults.ts';
import { becomesWhole } from './repair.ts';
import { type Stage, withStage } from './stage.ts';

export interface DrillOptions {
  flavor: Flavor;
  nodes: number;
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
  /** The script that this command runs as: Evenkeel is started with it. */
  main: string;
  progress: (line: string) => void;
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

class Drill {
  readonly #stage: Stage;
  readonly #options: DrillOptions;
  readonly #load: CheckedLoad;
  readonly #dice: Dice;
  readonly #faults: DrillFault[] = [];
  /** What did not happen that should have, in sentences. */
  readonly #missing: string[] = [];
  #rebuilt = 0;

  constructor(stage: Stage, options: DrillOptions, load: CheckedLoad) {
    this.#stage = stage;
    this.#options = options;
    this.#load = load;
    this.#dice = new Dice(options.seed);
  }

  async play(): Promise<DrillResult> {
    const { connections, faults, rounds, forMs, seed, progress, flavor } = this.#options;
    const [stage, load] = [this.#stage, this.#load];
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
    const { errors, furtherErrors, timeline, histograms, readsChecked, transactions, connectionsLost } = load;
    // A cluster that has failed may let nobody through any more: then the node that is called its primary is asked itself.
    const node = this.#hasFailed ? stage.node((await stage.status())?.clusters[0]?.primary ?? null) : null;
    const audit = await load.audit(node);
    const report = drillReport({
      audit,
      errors,
      furtherErrors,
      faults: this.#faults,
      timeline,
      histograms,
      missing: this.#missing,
    });
    const counts = { readsChecked, transactions, connections, connectionsLost, rebuilt: this.#rebuilt };
    return { ...report, ...counts, drivers, seed, flavor };
  }

  /** Then more faults would prove nothing more. */
  get #hasFailed(): boolean {
    return this.#missing.length > 0 || wrongErrors(this.#load.errors, this.#faults) > 0;
  }

  /** The cluster becomes whole, and the clients run undisturbed for a while; less where the drill has failed. */
  async #calm(): Promise<void> {
    const { nodes, seconds, progress } = this.#options;
    const wrong = await becomesWhole(this.#stage, nodes, {
      progress,
      rebuilt: () => {
        this.#rebuilt += 1;
      },
      enough: () => this.#hasFailed,
    });
    if (wrong !== null) this.#missing.push(wrong);
    await within(seconds * 1000, () => Promise.resolve(this.#hasFailed));
  }

  async #next(kinds: readonly FaultKind[]): Promise<void> {
    const { progress } = this.#options;
    const [stage, load, dice] = [this.#stage, this.#load, this.#dice];
    await this.#calm();
    if (this.#hasFailed) return;
    const victim = stage.node((await stage.status())?.clusters[0]?.primary ?? null);
    if (victim === null) {
      this.#missing.push('Evenkeel named no primary');
      return;
    }
    load.newPeriod();
    const fault = { kinds, node: victim.name, atMs: load.nowMs(), doneMs: Number.POSITIVE_INFINITY };
    this.#faults.push(fault);
    const waits = kinds.map((_, at) => (at === 0 ? 0 : dice.below(TOGETHER_MS)));
    const strikes = kinds.map((kind, at) => this.#strike(kind, victim, waits[at] ?? 0, kinds.length === 1));
    const wrong = (await Promise.all(strikes)).filter((one) => one !== null);
    fault.doneMs = load.nowMs();
    this.#missing.push(...wrong);
    const longestMs = Math.round(load.timeline.longestMs(fault.atMs));
    const told = wrong.length === 0 ? `the longest wait was ${longestMs} ms` : wrong.join('; ');
    const errors = load.errors.length + load.furtherErrors;
    const name = kinds.join('+');
    progress(
      `${this.#faults.length}. ${name} (${victim.name} was the primary): ${told}; ${load.acknowledged} writes confirmed, ${errors} errors so far`,
    );
  }

  async #strike(kind: FaultKind, victim: SandboxNode, waitMs: number, alone: boolean): Promise<string | null> {
    await delay(waitMs);
    return strike(this.#stage, { kind, victim, alone, enough: () => this.#hasFailed });
  }
}

/** Resolves with what came out, pass or fail. Rejects where the servers or Evenkeel do not start. */
export async function runDrill(options: DrillOptions): Promise<DrillResult> {
  const { flavor, main, nodes, progress, connections, seed } = options;
  return withStage({ flavor, main, nodes, progress }, async (stage) => {
    const login = { host: '127.0.0.1', port: stage.port, ...stage.sandbox.app };
    const load = await CheckedLoad.start({ login, connections, pauseMs: PAUSE_MS, stuckAfterMs: STUCK_AFTER_MS, seed });
    try {
      return await new Drill(stage, options, load).play();
    } finally {
      // Where something threw, the clients still run.
      await load.stop();
    }
  });
}
