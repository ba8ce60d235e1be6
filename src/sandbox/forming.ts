// Groups of nodes, of both kinds, as the sandbox forms them where no member takes part in one. A node that comes back
// to a group that works joins by itself; a group that nobody is in is begun by the node that has most, since beginning
// it with less would throw the rest away.
import { join } from 'node:path';
import { asAdmin } from './admin.ts';
import { SandboxError } from './errors.ts';
import { GALERA_BEGINS, GALERA_PORTS, isSynced, mayBegin, positionOf, startsAt, synced } from './galera.ts';
import { formGroup, GROUP_STAYS_OUT, isOnline, mostAdvancedFirst, online } from './group.ts';
import { processOf } from './process.ts';
import type { Saved, SavedNode } from './saved.ts';
import { findServer, type ServerProgram } from './servers.ts';
import type { Replication } from './types.ts';

export interface Formation {
  dir: string;
  saved: Saved;
  /** Starts a node that is down, with these words more; resolves when it answers. */
  start: (name: string, words: string[]) => Promise<unknown>;
}

/** How many ports a node has beside the clients' one. */
export function peerPortsOf(replication: Replication): number {
  return { async: 0, semisync: 0, group: 1, galera: GALERA_PORTS }[replication];
}

/** What a node that was down must be told at its start. */
export async function startWords(saved: Saved, program: ServerProgram, nodeDir: string): Promise<string[]> {
  return saved.replication === 'galera' ? startsAt(await positionOf(program, nodeDir)) : [];
}

/** Whether any node is in a group that works. */
export async function takesPart(saved: Saved): Promise<boolean> {
  const is = saved.replication === 'group' ? isOnline : isSynced;
  return (await Promise.all(saved.nodes.map((node) => is(saved, node)))).includes(true);
}

/** Resolves when all nodes take part. */
export async function formed(saved: Saved, nodes: readonly SavedNode[]): Promise<void> {
  const takes = saved.replication === 'group' ? online : synced;
  await Promise.all(nodes.map((node) => takes(saved, node)));
}

/** Starts the nodes that are down and forms the group anew. */
export async function formAnew(formation: Formation): Promise<void> {
  return formation.saved.replication === 'group' ? formGroupAnew(formation) : formGaleraAnew(formation);
}

async function formGroupAnew({ saved, start }: Formation): Promise<void> {
  await Promise.all(saved.nodes.map((node) => start(node.name, GROUP_STAYS_OUT)));
  // One that ran alone, or in a group that does not work, leaves it first.
  await Promise.all(saved.nodes.map((node) => asAdmin(saved, node, (ask) => ask('STOP GROUP_REPLICATION'))));
  await formGroup(saved, await mostAdvancedFirst(saved, saved.nodes));
}

async function formGaleraAnew({ dir, saved, start }: Formation): Promise<void> {
  const running = saved.nodes.filter((node) => processOf(join(dir, node.name)) !== null);
  if (running.length > 0) {
    const names = running.map(({ name }) => name).join(', ');
    throw new SandboxError(
      'start-failed',
      `${names} run without a majority: end them (evenkeel sandbox status shows the pids), then run this again`,
    );
  }
  const program = await findServer(saved.flavor);
  const positions: { node: SavedNode; seqno: number }[] = [];
  for (const node of saved.nodes) {
    positions.push({ node, seqno: (await positionOf(program, join(dir, node.name)))?.seqno ?? -1 });
  }
  const first = positions.toSorted((a, b) => b.seqno - a.seqno)[0]?.node;
  if (first === undefined) throw new Error('a sandbox without nodes');
  await mayBegin(join(dir, first.name));
  await start(first.name, GALERA_BEGINS);
  await Promise.all(saved.nodes.map((node) => start(node.name, [])));
  await formed(saved, saved.nodes);
}
