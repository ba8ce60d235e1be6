// The drill: the demo's stage and checked workload without its story. Faults strike the primary in a loop; after each, the
// cluster must be whole again before the next. The verdict counts what clients were told against what is there.
import { setTimeout as delay } from 'node:timers/promises';
import { type Audit, type ClientError, type Fault, type FaultReport, judge, Workload } from '../drill/index.ts';
import type { Flavor } from '../messages/index.ts';
import type { SandboxNode } from '../sandbox/index.ts';
import { rebuildNode } from './repair.ts';
import { type Stage, withStage } from './stage.ts';

export type DrillFault = Fault['kind'];

export interface DrillOptions {
  flavor: Flavor;
  nodes: number;
  connections: number;
  faults: readonly DrillFault[];
  rounds: number;
  /** How long the clients run undisturbed before each fault and after the last. */
  seconds: number;
  /** The script that this command runs as: Evenkeel is started with it. */
  main: string;
  progress: (line: string) => void;
}

/** What `drill --json` prints (design.md section 3); keys may be added, never renamed. */
export interface DrillResult {
  verdict: 'pass' | 'fail';
  reasons: string[];
  clientErrors: number;
  /** By kind and error number, e.g. `write 9104`. */
  errorsByKind: Record<string, number>;
  longestStallMs: number;
  acknowledged: number;
  lost: number;
  duplicated: number;
  unexpected: number;
  /** Reads that did not find their client's own confirmed writes, or found a session that is not the client's. */
  wrongReads: number;
  /** Writes whose clients were not told the outcome: each is a client error too. */
  unknown: { executed: number; notExecuted: number };
  readsChecked: number;
  connections: number;
  connectionsLost: number;
  faults: FaultReport[];
  /** Former primaries that were kept out with transactions that nobody was told of, and were built anew. */
  rebuilt: number;
  flavor: Flavor;
}

const TABLE = 'evenkeel_drill';
const PAUSE_MS = 20;
const STUCK_AFTER_MS = 32_000;
const TICK_MS = 100;
const FAILOVER_TIMEOUT_MS = 30_000;
const HEALTHY_TIMEOUT_MS = 30_000;
/** What looks errant for a moment may be what has just been replicated. */
const ERRANT_FOR_MS = 1500;

/** Waits for `met`; false where it is not met in time. */
async function within(ms: number, met: () => Promise<boolean>): Promise<boolean> {
  const end = performance.now() + ms;
  while (!(await met())) {
    if (performance.now() > end) return false;
    await delay(TICK_MS);
  }
  return true;
}

/** What is wrong with the cluster, in a sentence; null where it is whole. */
async function ailment(stage: Stage, nodes: number): Promise<string | null> {
  const cluster = (await stage.status())?.clusters[0];
  if (cluster === undefined) return 'Evenkeel does not answer';
  const { state, problems } = cluster;
  if (cluster.nodes.length < nodes) return `it has ${cluster.nodes.length} nodes`;
  if (state === 'healthy' && problems.length === 0) return null;
  return [state, ...problems.map(({ code, node, text }) => `${code} ${node ?? ''}: ${text}`)].join('; ');
}

/** A node that is kept out since it has transactions that nobody was told of, if there is one. */
async function keptOut(stage: Stage): Promise<SandboxNode | null> {
  const cluster = (await stage.status())?.clusters[0];
  return stage.node(cluster?.nodes.find(({ state }) => state === 'errant')?.node ?? null);
}

/** Where the data of `node` is to come from: a replica rather than the primary. */
async function soundNode(stage: Stage, node: SandboxNode): Promise<SandboxNode> {
  const cluster = (await stage.status())?.clusters[0];
  const replica = cluster?.nodes.find((one) => one.role === 'replica' && one.state === 'ok');
  const found = stage.node(replica?.node ?? null) ?? stage.node(cluster?.primary ?? null);
  if (found === null || found === node) throw new Error(`there is no node that ${node.name} could be built from`);
  return found;
}

/** Strikes once; says in a sentence what did not happen that should have, or null. */
async function strike(stage: Stage, workload: Workload, fault: Fault, victim: SandboxNode): Promise<string | null> {
  if (fault.kind === 'switchover') {
    try {
      await stage.switchover();
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      fault.doneMs = workload.nowMs();
    }
  }
  const before = new Set((await stage.history()).map(({ id }) => id));
  fault.atMs = workload.nowMs();
  try {
    if (fault.kind === 'kill') await stage.kill(victim);
    else await stage.freeze(victim, true);
    const promoted = await within(FAILOVER_TIMEOUT_MS, async () =>
      (await stage.history()).some(
        ({ id, kind, outcome }) => kind === 'failover' && outcome === 'done' && !before.has(id),
      ),
    );
    fault.doneMs = workload.nowMs();
    return promoted ? null : `no replica was promoted within ${FAILOVER_TIMEOUT_MS / 1000} s of the ${fault.kind}`;
  } finally {
    if (fault.kind === 'kill') await stage.restart(victim);
    else await stage.freeze(victim, false);
  }
}

function byKind(errors: readonly ClientError[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind, errno } of errors) {
    const name = errno === null ? kind : `${kind} ${errno}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

/** The result of a drill. Pure. `missing` says what did not happen that should have. */
export function drillResult(
  run: Pick<Workload, 'errors' | 'furtherErrors' | 'timeline'>,
  { connected, readsChecked }: { connected: number; readsChecked: number },
  audit: Audit,
  faults: readonly Fault[],
  missing: readonly string[],
  rebuilt: number,
  { connections, flavor }: Pick<DrillOptions, 'connections' | 'flavor'>,
): DrillResult {
  const { errors, furtherErrors, timeline } = run;
  const judgement = judge({ audit, errors, furtherErrors, faults, timeline, inFlight: 'exactly-once' });
  const { acknowledged, lost, duplicated, unexpected, unknown } = audit;
  const { clientErrors, longestStallMs } = judgement;
  return {
    verdict: judgement.verdict === 'pass' && missing.length === 0 ? 'pass' : 'fail',
    reasons: [...judgement.reasons, ...missing, ...audit.examples],
    clientErrors,
    errorsByKind: byKind(errors),
    longestStallMs,
    acknowledged,
    lost,
    duplicated,
    unexpected,
    wrongReads: errors.filter(({ kind }) => kind === 'answer').length,
    unknown,
    readsChecked,
    connections,
    connectionsLost: connections - connected,
    faults: judgement.faults,
    rebuilt,
    flavor,
  };
}

async function play(stage: Stage, options: DrillOptions): Promise<DrillResult> {
  const { connections, faults: kinds, rounds, seconds, progress } = options;
  const login = { host: '127.0.0.1', port: stage.port, ...stage.sandbox.app };
  const workload = await Workload.start({
    login,
    connections,
    pauseMs: PAUSE_MS,
    table: TABLE,
    stuckAfterMs: STUCK_AFTER_MS,
  });
  const faults: Fault[] = [];
  const missing: string[] = [];
  let rebuilt = 0;
  try {
    progress(`${connections} clients write rows, read them back and compare`);
    const plan = Array.from({ length: rounds }, () => kinds).flat();
    const whole = async (): Promise<boolean> => {
      const wrong = await becomesWhole(stage, options, () => {
        rebuilt += 1;
      });
      if (wrong !== null) missing.push(wrong);
      return wrong === null;
    };
    for (const [index, kind] of plan.entries()) {
      if (!(await whole())) break;
      await delay(seconds * 1000);
      const victim = stage.node((await stage.status())?.clusters[0]?.primary ?? null);
      if (victim === null) {
        missing.push('Evenkeel named no primary');
        break;
      }
      const atMs = workload.nowMs();
      const fault: Fault = { kind, node: victim.name, atMs, doneMs: Number.POSITIVE_INFINITY };
      faults.push(fault);
      const wrong = await strike(stage, workload, fault, victim);
      if (wrong !== null) missing.push(wrong);
      const { errors } = workload.state();
      const longestMs = Math.round(workload.timeline.longestMs(fault.atMs));
      progress(
        `${index + 1}/${plan.length} ${kind} of ${victim.name}: ${wrong ?? 'survived'}; longest wait ${longestMs} ms, ${errors} errors so far`,
      );
      if (wrong !== null) break;
    }
    if (missing.length === 0) await whole();
    await delay(seconds * 1000);
    const state = workload.state();
    await workload.stop();
    progress('the clients have stopped; every row is compared with what its client was told');
    return drillResult(workload, state, await workload.audit(), faults, missing, rebuilt, options);
  } finally {
    // Where something threw, the clients still run.
    await workload.stop();
  }
}

/**
 * Waits until the cluster is as it was; what is wrong in the end, or null. A former primary may have transactions that
 * nobody was told of; Evenkeel keeps it out, and the drill builds it anew, as its operator would.
 */
async function becomesWhole(
  stage: Stage,
  { nodes, progress }: DrillOptions,
  rebuilt: () => void,
): Promise<string | null> {
  let end = performance.now() + HEALTHY_TIMEOUT_MS;
  let errantSinceMs: number | null = null;
  for (;;) {
    const wrong = await ailment(stage, nodes);
    if (wrong === null) return null;
    if (performance.now() > end) return `the cluster was not whole after ${HEALTHY_TIMEOUT_MS / 1000} s: ${wrong}`;
    const out = await keptOut(stage);
    errantSinceMs = out === null ? null : (errantSinceMs ?? performance.now());
    if (out !== null && errantSinceMs !== null && performance.now() - errantSinceMs > ERRANT_FOR_MS) {
      progress(`${out.name} is kept out with transactions that nobody was told of; it is built anew`);
      const donor = await soundNode(stage, out);
      try {
        await rebuildNode(stage, out, donor);
      } catch (error) {
        return `${out.name} could not be built anew: ${error instanceof Error ? error.message : String(error)}`;
      }
      rebuilt();
      errantSinceMs = null;
      end = performance.now() + HEALTHY_TIMEOUT_MS;
    }
    await delay(TICK_MS);
  }
}

/** Resolves with what came out, pass or fail. Rejects where the servers or Evenkeel do not start. */
export async function runDrill(options: DrillOptions): Promise<DrillResult> {
  const { flavor, main, nodes, progress } = options;
  return withStage({ flavor, main, nodes, progress }, (stage) => play(stage, options));
}
