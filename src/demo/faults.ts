// The faults of a drill, each as it happens to a cluster: to its servers by signals, to Evenkeel by its own commands and by
// signals to its processes. A fault says what did not happen that should have, or null.
import { setTimeout as delay } from 'node:timers/promises';
import type { RowDataPacket } from 'mysql2/promise';
import type { FaultKind } from '../drill/index.ts';
import type { SandboxNode } from '../sandbox/index.ts';
import { ailment } from './repair.ts';
import type { Stage } from './stage.ts';

const FAILOVER_TIMEOUT_MS = 30_000;
/** Long enough that most clients have come to a commit, and too short for the replicas to be missed. */
const IN_COMMIT_MS = 300;
const WORKER_TIMEOUT_MS = 15_000;
const TICK_MS = 50;

/** Waits for `met`; false where it is not met in time. */
export async function within(ms: number, met: () => Promise<boolean>): Promise<boolean> {
  const end = performance.now() + ms;
  while (!(await met())) {
    if (performance.now() > end) return false;
    await delay(TICK_MS);
  }
  return true;
}

export interface Strike {
  kind: FaultKind;
  /** The primary now. */
  victim: SandboxNode;
  /** Nothing else strikes at the same time that it might fail by. */
  alone: boolean;
  /** The drill has failed: its end need not be waited for. */
  enough: () => boolean;
}

/** Strikes once. */
export async function strike(stage: Stage, { kind, victim, alone, enough }: Strike): Promise<string | null> {
  switch (kind) {
    case 'switchover':
      return orderedSwitchover(() => stage.order('switchover'), alone, enough);
    case 'kill':
    case 'kill-in-commit':
    case 'freeze':
      return bringDown(stage, kind, victim, alone);
    case 'cut':
      await cut(stage, victim);
      return null;
    case 'worker':
      return killWorker(stage);
  }
}

export async function orderedSwitchover(
  order: () => Promise<unknown>,
  alone: boolean,
  enough: () => boolean,
): Promise<string | null> {
  const ended = order().then(
    () => null,
    // A primary that is killed meanwhile makes it a failover, which the clients must survive all the same.
    (error: unknown) => (alone ? (error instanceof Error ? error.message : String(error)) : null),
  );
  const over = new AbortController();
  const failed = (async () => {
    while (!over.signal.aborted && !enough()) await delay(TICK_MS);
    return null;
  })();
  const wrong = await Promise.race([ended, failed]);
  over.abort();
  return wrong;
}

async function bringDown(
  stage: Stage,
  kind: 'kill' | 'kill-in-commit' | 'freeze',
  victim: SandboxNode,
  alone: boolean,
): Promise<string | null> {
  try {
    if (kind === 'freeze') await stage.freeze(victim, true);
    else if (kind === 'kill') await stage.kill(victim);
    else await killInCommit(stage, victim);
    const moved = await within(FAILOVER_TIMEOUT_MS, async () => {
      const cluster = (await stage.status())?.clusters[0];
      if (cluster === undefined || cluster.primary === null) return false;
      const works = cluster.state === 'healthy' || cluster.state === 'degraded';
      return works && stage.node(cluster.primary) !== victim;
    });
    if (moved || !alone) return null;
    const wrong = (await ailment(stage, stage.sandbox.nodes.length)) ?? 'its cluster is whole';
    return `no replica was promoted within ${FAILOVER_TIMEOUT_MS / 1000} s of the ${kind}: ${wrong}`;
  } finally {
    if (kind === 'freeze') await stage.freeze(victim, false);
    else await stage.restart(victim);
  }
}

/**
 * While the replicas are frozen, every commit is on its way to them and waits for its acknowledgement: then the primary
 * dies, and the replicas execute what nobody was told of.
 */
async function killInCommit(stage: Stage, victim: SandboxNode): Promise<void> {
  const replicas = stage.sandbox.nodes.filter((node) => node !== victim);
  try {
    await Promise.all(replicas.map((node) => stage.freeze(node, true)));
    await delay(IN_COMMIT_MS);
    await stage.kill(victim);
  } finally {
    await Promise.all(replicas.map((node) => stage.freeze(node, false)));
  }
}

/** All connections of the application's account to this node are ended; the server lives on. */
async function cut(stage: Stage, victim: SandboxNode): Promise<void> {
  const { app } = stage.sandbox;
  await stage.asAdmin(victim, async (connection) => {
    const [rows] = await connection.query<RowDataPacket[]>(
      'SELECT id FROM information_schema.processlist WHERE user = ?',
      [app.user],
    );
    const kills = rows.map((row) => connection.query(`KILL ${Number(row['id'] ?? row['ID'])}`));
    // One that has ended by itself meanwhile is no thread any more.
    const results = await Promise.allSettled(kills);
    const failed = results.find(
      (one) => one.status === 'rejected' && (one.reason as { errno?: number }).errno !== 1094,
    );
    if (failed?.status === 'rejected') throw failed.reason;
  });
}

/** Resolves when Evenkeel has replaced it. */
async function killWorker(stage: Stage): Promise<string | null> {
  const [pid] = stage.workers();
  if (pid === undefined) return 'Evenkeel named no worker';
  const count = stage.workers().length;
  process.kill(pid, 'SIGKILL');
  const replaced = await within(WORKER_TIMEOUT_MS, async () => {
    const now = stage.workers();
    return !now.includes(pid) && now.length === count && (await stage.ready());
  });
  return replaced ? null : `the killed worker was not replaced within ${WORKER_TIMEOUT_MS / 1000} s`;
}
