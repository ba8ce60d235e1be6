// What clients see when the primary is lost without a word: a crash, a host that hangs or that nobody reaches, a disk that stalls or
// is full. Each round has a new cluster and a new Evenkeel, since a primary that crashed under load may
// come back with transactions that nobody was told of, and is then rightly kept out.
import { setTimeout as pause } from 'node:timers/promises';
import { addressOf, type Evenkeel, serverVersion, until } from './support/cluster.ts';
import { electionOver, type GroupKind } from './support/election.ts';
import { FAULT_TITLES, type Fault, withFault } from './support/faults.ts';
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

export interface FailoverOptions extends CommonOptions {
  fault: Fault;
  /** A group elects its primary itself, and a Galera cluster leaves a dead member behind: what comes on top counts. */
  replication: 'semisync' | GroupKind;
  clients: number;
  thinkMs: number;
  workers: number;
  /** Load before the fault, and after the recovery. */
  warmMs: number;
  settleMs: number;
}

interface FailoverRound {
  before: LoadStretch;
  during: LoadStretch;
  /** All writes of the round. */
  account: Account;
  /** From the fault to the beginning of the failover, by the clocks of one machine; whole milliseconds. */
  detectionMs: number;
  /** From the fault until the group was in order again, as it says itself; null where there is none. */
  electionMs: number | null;
  /** From its beginning: until statements flow again, and until the other replicas follow. */
  openMs: number;
  recoveryMs: number;
  attempts: number;
  /** As Evenkeel itself counts. */
  reportedStallMs: number;
  steps: { name: string; startedMs: number; durationMs: number }[];
  errorTexts: string[];
}

const PROMOTION_DEADLINE_MS = 30_000;

/** Of the longest stall. */
const STALL_AIMS: Readonly<Record<Fault, NonNullable<Figure['aims']>>> = {
  kill: [
    { of: 'p50', atMost: 250 },
    { of: 'max', atMost: 700 },
  ],
  freeze: [{ of: 'max', atMost: 2500 }],
  cut: [{ of: 'max', atMost: 2500 }],
  stall: [{ of: 'max', atMost: 5000 }],
  full: [{ of: 'max', atMost: 5000 }],
};
/** A disk is judged by a write of ours that does not end (`heartbeat.deadline`, 2 s). */
const DETECTION_AIMS: Readonly<Record<Fault, NonNullable<Figure['aims']>>> = {
  kill: [{ of: 'max', atMost: 200 }],
  freeze: [{ of: 'max', atMost: 2000 }],
  cut: [{ of: 'max', atMost: 2000 }],
  stall: [],
  full: [],
};

export async function benchFailover(options: FailoverOptions): Promise<Result> {
  const { clients, thinkMs, workers, warmMs, settleMs, replication, rounds } = options;
  const flavors = { semisync: options.flavors, group: ['mysql'] as Flavor[], galera: ['mariadb'] as Flavor[] };
  const results = await eachFlavor(flavors[replication], (flavor) => measureFlavor(flavor, options));
  return {
    benchmark: `failover-${options.fault}`,
    title: `Failover: ${FAULT_TITLES[options.fault]}`,
    settings: { nodes: 3, replication, rounds, clients, thinkMs, workers, warmMs, settleMs },
    results,
  };
}

async function measureFlavor(flavor: Flavor, options: FailoverOptions): Promise<FlavorResult> {
  let version = 'unknown';
  const { replication, workers } = options;
  const { done, failed } = await eachRound(options.rounds, `failover ${flavor}`, async () =>
    withFault(options.fault, { flavor, nodes: 3, replication, workers }, async (evenkeel, strike) => {
      version = await serverVersion(evenkeel);
      const value = await measureRound(evenkeel, strike, options);
      return { value, line: describe(value) };
    }),
  );
  const figures = figuresOf(done, options).map((figure) => judge(figure, failed.length));
  const texts = [...new Set(done.flatMap(({ errorTexts }) => errorTexts))].slice(0, 5);
  const remarks = texts.map((text) => `An error that should not have been: ${text}`);
  return { flavor, version, failedRounds: failed, figures, rounds: done, remarks };
}

async function measureRound(
  evenkeel: Evenkeel,
  strike: () => Promise<void>,
  options: FailoverOptions,
): Promise<FailoverRound> {
  await evenkeel.healthy();
  const load = await Load.start(evenkeel.login(), options);
  try {
    await pause(options.warmMs);
    const victim = await evenkeel.primary();
    const before = load.cut();
    const { replication } = options;
    const over = replication === 'semisync' ? null : await electionOver(evenkeel, replication, victim);
    const faultAt = Date.now();
    await strike();
    await evenkeel.promotedFrom(victim, PROMOTION_DEADLINE_MS);
    const electionMs = over === null ? null : (await over()) - faultAt;
    const recovery = await recoveryOf(evenkeel, addressOf(victim), faultAt);
    await pause(options.settleMs);
    const during = load.cut();
    const account = await load.stop();
    return { before, during, account, electionMs, ...recovery, errorTexts: load.errorTexts };
  } catch (error) {
    load.abandon();
    throw error;
  }
}

/** What `history` says of the failovers since the fault. Clients may be served before the record is complete. */
async function recoveryOf(
  evenkeel: Evenkeel,
  victim: string,
  faultAt: number,
): Promise<Omit<FailoverRound, 'before' | 'during' | 'account' | 'electionMs' | 'errorTexts'>> {
  const failovers = async () =>
    (await evenkeel.history())
      .filter(
        ({ kind, from, startedAt }) =>
          (kind === 'failover' || kind === 'follow') && from === victim && Date.parse(startedAt) >= faultAt - 1,
      )
      .toSorted((a, b) => Date.parse(a.startedAt) - Date.parse(b.startedAt));
  await until('the record of the failover', PROMOTION_DEADLINE_MS, async () =>
    (await failovers()).some(({ outcome, durationMs }) => outcome === 'done' && durationMs > 0),
  );
  const all = await failovers();
  const last = all.findLast(({ outcome }) => outcome === 'done');
  const first = all[0];
  if (first === undefined || last === undefined) throw new Error('history forgot the failover');
  const begun = Date.parse(last.startedAt) - Date.parse(first.startedAt);
  const open = last.steps.find(({ name }) => name === 'open' || name.startsWith('open-gate'));
  return {
    detectionMs: Date.parse(first.startedAt) - faultAt,
    openMs: open === undefined ? Number.NaN : begun + open.startedMs + open.durationMs,
    recoveryMs: begun + last.durationMs,
    attempts: all.length,
    reportedStallMs: last.longestStallMs,
    steps: last.steps.map(({ name, startedMs, durationMs }) => ({ name, startedMs, durationMs })),
  };
}

/** Every error but the one that is allowed: an autocommit write that was in flight and whose outcome nobody knows. */
function unsentErrors({ errorsByKind }: LoadStretch): number {
  return errorsByKind['not-executed'] + errorsByKind['connection-lost'] + errorsByKind.other;
}

function figuresOf(
  rounds: readonly FailoverRound[],
  { fault, replication }: Pick<FailoverOptions, 'fault' | 'replication'>,
): Figure[] {
  const of = (read: (round: FailoverRound) => number): number[] => rounds.map(read);
  const none: Figure['aims'] = [{ of: 'total', atMost: 0 }];
  const alone = replication === 'semisync';
  const beyond = of((r) => r.during.longestMs - (r.electionMs ?? 0));
  const elections: Figure[] = alone
    ? []
    : [
        { name: "the group's own election", unit: 'ms', samples: of((r) => r.electionMs ?? Number.NaN) },
        { name: 'longest stall beyond the election', unit: 'ms', samples: beyond, aims: [{ of: 'max', atMost: 200 }] },
      ];
  const stall = alone ? STALL_AIMS[fault] : [];
  return [
    ...elections,
    { name: 'longest stall, answered without error', unit: 'ms', samples: of((r) => r.during.longestMs), aims: stall },
    { name: 'longest stall, errors included', unit: 'ms', samples: of((r) => r.during.longestWithErrorsMs) },
    { name: 'longest time of a client without success', unit: 'ms', samples: of((r) => r.during.longestGapMs) },
    { name: 'errors on statements not sent', unit: 'count', samples: of((r) => unsentErrors(r.during)), aims: none },
    {
      name: 'in-flight autocommit writes answered unknown',
      unit: 'count',
      samples: of((r) => r.during.errorsByKind['in-flight-unknown']),
    },
    { name: 'of these executed', unit: 'count', samples: of((r) => r.account.unknownExecuted) },
    { name: 'acknowledged writes lost', unit: 'count', samples: of((r) => r.account.lost), aims: none },
    { name: 'writes duplicated', unit: 'count', samples: of((r) => r.account.duplicated), aims: none },
    {
      name: 'writes called not executed, and there',
      unit: 'count',
      samples: of((r) => r.account.wronglyDenied),
      aims: none,
    },
    { name: 'reads that missed an own write', unit: 'count', samples: of((r) => r.during.wrongReads), aims: none },
    {
      name: 'detection',
      unit: 'ms',
      samples: of((r) => r.detectionMs),
      aims: alone ? DETECTION_AIMS[fault] : [],
    },
    { name: 'failover, until statements flow', unit: 'ms', samples: of((r) => r.openMs) },
    { name: 'failover, until all replicas follow', unit: 'ms', samples: of((r) => r.recoveryMs) },
    { name: 'longest stall as Evenkeel reports it', unit: 'ms', samples: of((r) => r.reportedStallMs) },
    { name: 'longest answer before the fault', unit: 'ms', samples: of((r) => r.before.longestMs) },
    { name: "the benchmark's own delay", unit: 'ms', samples: of((r) => r.during.ownDelayMaxMs) },
    { name: 'writes acknowledged', unit: 'count', samples: of((r) => r.account.acknowledged) },
  ];
}

function describe(round: FailoverRound): string {
  const { during, account } = round;
  return [
    `stall ${during.longestMs.toFixed(0)} ms`,
    ...(round.electionMs === null ? [] : [`election ${round.electionMs} ms`]),
    `detected after ${round.detectionMs} ms`,
    `open after another ${round.openMs.toFixed(0)} ms`,
    `${unsentErrors(during)} errors on statements not sent`,
    `${during.errorsByKind['in-flight-unknown']} unknown`,
    `${account.lost} lost and ${account.duplicated} duplicated of ${account.acknowledged}`,
  ].join(', ');
}
