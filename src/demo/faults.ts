// The faults of a drill, each as it happens to a cluster: to its servers by signals, to Evenkeel by its own commands and by
// signals to its processes. A fault says what did not happen that should have, or null.
import { setTimeout as delay } from 'node:timers/promises';
import mysql, { type RowDataPacket } from 'mysql2/promise';
import type { FaultKind } from '../drill/index.ts';
import type { SandboxNode } from '../sandbox/index.ts';
import type { Stage } from './stage.ts';

const FAILOVER_TIMEOUT_MS = 30_000;
const WORKER_TIMEOUT_MS = 15_000;
const TICK_MS = 50;

/** Waits for `met`; false where it is not met in time. */
async function within(ms: number, met: () => Promise<boolean>): Promise<boolean> {
  const end = performance.now() + ms;
  while (!(await met())) {
    if (performance.now() > end) return false;
    await delay(TICK_MS);
  }
  return true;
}

/** Strikes once. `alone`: nothing else strikes at the same time that it might fail by. */
export async function strike(
  stage: Stage,
  kind: FaultKind,
  victim: SandboxNode,
  alone: boolean,
): Promise<string | null> {
  switch (kind) {
    case 'switchover':
      return switchover(stage, alone);
    case 'kill':
    case 'freeze':
      return bringDown(stage, kind, victim, alone);
    case 'cut':
      await cut(stage, victim);
      return null;
    case 'worker':
      return killWorker(stage);
  }
}

async function switchover(stage: Stage, alone: boolean): Promise<string | null> {
  try {
    await stage.order('switchover');
    return null;
  } catch (error) {
    // A primary that is killed meanwhile makes it a failover, which the clients must survive all the same.
    if (!alone) return null;
    return error instanceof Error ? error.message : String(error);
  }
}

async function bringDown(
  stage: Stage,
  kind: 'kill' | 'freeze',
  victim: SandboxNode,
  alone: boolean,
): Promise<string | null> {
  try {
    if (kind === 'kill') await stage.kill(victim);
    else await stage.freeze(victim, true);
    const moved = await within(FAILOVER_TIMEOUT_MS, async () => {
      const cluster = (await stage.status())?.clusters[0];
      if (cluster === undefined || cluster.primary === null) return false;
      const works = cluster.state === 'healthy' || cluster.state === 'degraded';
      return works && stage.node(cluster.primary) !== victim;
    });
    if (moved || !alone) return null;
    return `no replica was promoted within ${FAILOVER_TIMEOUT_MS / 1000} s of the ${kind}`;
  } finally {
    if (kind === 'kill') await stage.restart(victim);
    else await stage.freeze(victim, false);
  }
}

/** All connections of the application's account to this node are ended; the server lives on. */
async function cut(stage: Stage, victim: SandboxNode): Promise<void> {
  const { admin, app } = stage.sandbox;
  const connection = await mysql.createConnection({ host: victim.host, port: victim.port, ...admin });
  try {
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
  } finally {
    connection.destroy();
  }
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
