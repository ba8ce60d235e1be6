// Waiting until a cluster is whole again after a fault, and what an operator does with a node that is kept out since it has
// transactions that were never acknowledged: it is built anew. On MySQL by `evenkeel rebuild`, with the restart that a
// supervisor would do; on MariaDB by the commands that `evenkeel rebuild` tells.
import { setTimeout as delay } from 'node:timers/promises';
import type { ClusterStatus } from '../http/api.ts';
import { buildFromBackup, type SandboxInfo, type SandboxNode, sandboxStatus, startNode } from '../sandbox/index.ts';
import type { Stage } from './stage.ts';

export const HEALTHY_TIMEOUT_MS = 30_000;
/** What looks errant for a moment may be what has just been replicated. */
const ERRANT_FOR_MS = 1500;
const STOPPED_TIMEOUT_MS = 30_000;
const TICK_MS = 100;

export interface Waiting {
  progress: (line: string) => void;
  /** A node was built anew. */
  rebuilt: () => void;
  /** There is no need to wait any longer. */
  enough: () => boolean;
  /** Whether the node went down since the cluster was whole, so that it may have what nobody was told of. */
  wentDown: (name: string) => boolean;
}

/** Waits until the cluster is as it was; what is wrong in the end, or null. */
export async function becomesWhole(
  stage: Stage,
  nodes: number,
  { progress, rebuilt, enough, wentDown }: Waiting,
): Promise<string | null> {
  let end = performance.now() + HEALTHY_TIMEOUT_MS;
  let errantSinceMs: number | null = null;
  for (;;) {
    const wrong = await ailment(stage, nodes);
    if (wrong === null || enough()) return null;
    if (performance.now() > end)
      return `the cluster was not whole after ${HEALTHY_TIMEOUT_MS / 1000} s: ${wrong}${await stage.fallen()}`;
    const out = await keptOut(stage);
    errantSinceMs = out === null ? null : (errantSinceMs ?? performance.now());
    if (out !== null && errantSinceMs !== null && performance.now() - errantSinceMs > ERRANT_FOR_MS) {
      if (!wentDown(out.name)) return `${out.name}, which was never down, has transactions that the primary has not`;
      progress(`${out.name} is kept out with transactions that nobody was told of; it is built anew`);
      try {
        await rebuildNode(stage, out, await soundNode(stage, out));
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

/** What is wrong with the cluster, in a sentence; null where it is whole. */
export async function ailment(stage: Stage, nodes: number): Promise<string | null> {
  const cluster = (await stage.status())?.clusters[0];
  if (cluster === undefined) return 'Evenkeel does not answer';
  if (cluster.nodes.length < nodes) return `it has ${cluster.nodes.length} nodes`;
  return ailmentOf(cluster);
}

export function ailmentOf({ state, problems }: ClusterStatus): string | null {
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

/** Rejects where it does not succeed. */
async function rebuildNode(stage: Stage, node: SandboxNode, donor: SandboxNode): Promise<void> {
  const { sandbox } = stage;
  if (sandbox.flavor === 'mariadb') return byHand(stage, node, donor);
  const order = stage.order('rebuild', address(node));
  order.catch(() => undefined); // it is awaited below, where restarting has not failed before
  const end = performance.now() + STOPPED_TIMEOUT_MS;
  const pid = await pidOf(sandbox, node);
  // The clone ends the server's process, and nobody else starts it again.
  while ((await pidOf(sandbox, node)) === pid) {
    if (performance.now() > end) {
      await order;
      throw new Error(`${node.name} was not restarted by its clone within ${STOPPED_TIMEOUT_MS / 1000} s`);
    }
    await Promise.race([delay(TICK_MS), order]);
  }
  await startNode(sandbox.dir, node.name, { bound: true });
  await order;
}

async function pidOf(sandbox: SandboxInfo, { name }: SandboxNode): Promise<number | null> {
  const { nodes } = await sandboxStatus(sandbox.dir);
  return nodes.find((node) => node.name === name)?.pid ?? null;
}

/** See mariadbProcedure in src/recovery: maintenance, since the node must follow nobody before it has its position. */
async function byHand(stage: Stage, node: SandboxNode, donor: SandboxNode): Promise<void> {
  const donorIsPrimary = (await stage.status())?.clusters[0]?.primary === address(donor);
  await stage.maintain(node, '--for', '1h');
  await buildFromBackup(stage.sandbox.dir, { node: node.name, donor: donor.name, donorIsPrimary });
  await stage.maintain(node, '--end');
}

const address = ({ host, port }: SandboxNode): string => `${host}:${port}`;
