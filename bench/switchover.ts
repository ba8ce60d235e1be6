// What clients see of a planned switchover: one cluster, one switchover after the other, each to the next replica once
// that has caught up, under a load that goes on all the time.
import { setTimeout as pause } from 'node:timers/promises';
import { addressOf, type Evenkeel, orderSwitchover, serverVersion, until, withEvenkeel } from './support/cluster.ts';
import { type Figure, judge } from './support/figures.ts';
import type { Account } from './support/ledger.ts';
import { Load, type LoadStretch } from './support/load.ts';
import {
  type CommonOptions,
  eachFlavor,
  eachRound,
  type Flavor,
  type FlavorResult,
  type Result,
} from './support/report.ts';

export interface SwitchoverOptions extends CommonOptions {
  clients: number;
  thinkMs: number;
  workers: number;
  warmMs: number;
  settleMs: number;
}

interface SwitchoverRound {
  before: LoadStretch;
  during: LoadStretch;
  /** What the candidate was behind by, as `status` said right before. */
  lagMs: number | null;
  reportedStallMs: number;
  /** From the closing of the gate to its opening, by the record. */
  heldMs: number;
  durationMs: number;
  steps: { name: string; startedMs: number; durationMs: number }[];
}

const CATCH_UP_DEADLINE_MS = 30_000;
/** Closer than this, the candidate counts as caught up. */
const CAUGHT_UP_MS = 100;

export async function benchSwitchover(options: SwitchoverOptions): Promise<Result> {
  const results = await eachFlavor(options.flavors, (flavor) => {
    const cluster = { flavor, nodes: 3, replication: 'semisync', workers: options.workers } as const;
    return withEvenkeel(cluster, (evenkeel) => measureFlavor(flavor, evenkeel, options));
  });
  const { rounds, clients, thinkMs, workers, warmMs, settleMs } = options;
  return {
    benchmark: 'switchover',
    title: 'Switchover under load, candidate caught up',
    settings: { nodes: 3, replication: 'semisync', rounds, clients, thinkMs, workers, warmMs, settleMs },
    results,
  };
}

async function measureFlavor(flavor: Flavor, evenkeel: Evenkeel, options: SwitchoverOptions): Promise<FlavorResult> {
  await evenkeel.healthy();
  const version = await serverVersion(evenkeel);
  const load = await Load.start(evenkeel.login(), options);
  try {
    const { done, failed } = await eachRound(options.rounds, `switchover ${flavor}`, async () => {
      const value = await measureRound(evenkeel, load, options);
      return { value, line: describe(value) };
    });
    const account = await load.stop();
    const figures = figuresOf(done, account).map((figure) => judge(figure, failed.length));
    const remarks = load.errorTexts.slice(0, 5).map((text) => `An error that should not have been: ${text}`);
    return { flavor, version, failedRounds: failed, figures, rounds: done, remarks };
  } catch (error) {
    load.abandon();
    throw error;
  }
}

async function measureRound(evenkeel: Evenkeel, load: Load, options: SwitchoverOptions): Promise<SwitchoverRound> {
  await evenkeel.healthy();
  await pause(options.warmMs);
  const { candidate, lagMs } = await caughtUp(evenkeel);
  const before = load.cut();
  const record = await orderSwitchover(evenkeel, candidate);
  await pause(options.settleMs);
  const during = load.cut();
  const step = (name: string) => record.steps.find((each) => each.name.startsWith(name));
  const close = step('close-gate');
  const open = step('open-gate');
  return {
    before,
    during,
    lagMs,
    reportedStallMs: record.longestStallMs,
    heldMs: close && open ? open.startedMs + open.durationMs - close.startedMs : Number.NaN,
    durationMs: record.durationMs,
    steps: record.steps.map(({ name, startedMs, durationMs }) => ({ name, startedMs, durationMs })),
  };
}

/** The node after the primary, so that every node has its turn. */
async function caughtUp(evenkeel: Evenkeel): Promise<{ candidate: string; lagMs: number | null }> {
  const addresses = evenkeel.sandbox.nodes.map(addressOf);
  const primary = addressOf(await evenkeel.primary());
  const candidate = addresses[(addresses.indexOf(primary) + 1) % addresses.length] ?? primary;
  let lagMs: number | null = null;
  await until(`${candidate} to catch up`, CATCH_UP_DEADLINE_MS, async () => {
    const nodes = (await evenkeel.status()).clusters[0]?.nodes ?? [];
    lagMs = nodes.find(({ node }) => node === candidate)?.lagMs ?? null;
    return lagMs !== null && lagMs <= CAUGHT_UP_MS;
  });
  return { candidate, lagMs };
}

function clientErrors({ errorsByKind }: LoadStretch): number {
  return Object.values(errorsByKind).reduce((total, count) => total + count, 0);
}

function figuresOf(rounds: readonly SwitchoverRound[], account: Account): Figure[] {
  const of = (read: (round: SwitchoverRound) => number): number[] => rounds.map(read);
  const none: Figure['aims'] = [{ of: 'total', atMost: 0 }];
  return [
    {
      name: 'longest stall that a client saw',
      unit: 'ms',
      samples: of((r) => r.during.longestWithErrorsMs),
      aims: [
        { of: 'p50', atMost: 30 },
        { of: 'max', atMost: 100 },
      ],
    },
    { name: 'client errors', unit: 'count', samples: of((r) => clientErrors(r.during)), aims: none },
    { name: 'longest stall as Evenkeel reports it', unit: 'ms', samples: of((r) => r.reportedStallMs) },
    { name: 'held, from closing the gate to opening it', unit: 'ms', samples: of((r) => r.heldMs) },
    { name: 'switchover as a whole', unit: 'ms', samples: of((r) => r.durationMs) },
    { name: "candidate's lag right before", unit: 'ms', samples: of((r) => r.lagMs ?? Number.NaN) },
    { name: 'reads that missed an own write', unit: 'count', samples: of((r) => r.during.wrongReads), aims: none },
    { name: 'acknowledged writes lost (all rounds)', unit: 'count', samples: [account.lost], aims: none },
    { name: 'writes duplicated (all rounds)', unit: 'count', samples: [account.duplicated], aims: none },
    { name: 'writes acknowledged (all rounds)', unit: 'count', samples: [account.acknowledged] },
    { name: 'longest answer before it', unit: 'ms', samples: of((r) => r.before.longestMs) },
    { name: "the benchmark's own delay", unit: 'ms', samples: of((r) => r.during.ownDelayMaxMs) },
  ];
}

function describe(round: SwitchoverRound): string {
  const { during } = round;
  const stalls = `stall ${during.longestWithErrorsMs.toFixed(1)} ms (reported ${round.reportedStallMs.toFixed(1)} ms)`;
  return `${stalls}, held ${round.heldMs.toFixed(1)} ms, ${clientErrors(during)} client errors`;
}
