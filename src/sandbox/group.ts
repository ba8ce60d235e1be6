// A sandbox of MySQL Group Replication: one primary, which the group itself elects. What the servers are told in
// their option file, how a new group is formed, and how one is formed anew after all its members were down: by the
// member that has most, since no member does so by itself.
import { setTimeout as delay } from 'node:timers/promises';
import { type Ask, asAdmin, type Cluster, textOf } from './admin.ts';
import { SandboxError } from './errors.ts';
import type { NodeOptions } from './options.ts';

type Node = { name: string; host: string; port: number };

const ONLINE_DEADLINE_MS = 60_000;

export function groupLines(node: Pick<NodeOptions, 'peerPorts' | 'groupPorts' | 'group'>): string[] {
  const seeds = node.groupPorts.map((port) => `127.0.0.1:${port}`).join(',');
  return [
    'plugin_load_add=group_replication.so',
    `loose_group_replication_group_name=${node.group}`,
    `loose_group_replication_local_address=127.0.0.1:${node.peerPorts[0]}`,
    `loose_group_replication_group_seeds=${seeds}`,
    'loose_group_replication_single_primary_mode=ON',
    'loose_group_replication_start_on_boot=ON',
    'loose_group_replication_recovery_get_public_key=ON',
    // A dead member is expelled as soon as the group suspects it, which takes about five seconds.
    'loose_group_replication_member_expel_timeout=0',
    // A new primary answers no one before it has applied what the old one had confirmed.
    'loose_group_replication_consistency=BEFORE_ON_PRIMARY_FAILOVER',
  ];
}

/** For the start of a node that nobody can take in, or that is to wait until it is told. */
export const GROUP_STAYS_OUT = ['--loose-group-replication-start-on-boot=OFF'];

/** How a member that joins logs in to the one that it gets its data from. */
export function groupAccount({ admin }: Cluster): string {
  return (
    `CHANGE REPLICATION SOURCE TO SOURCE_USER='${admin.user}', SOURCE_PASSWORD='${admin.password}'` +
    " FOR CHANNEL 'group_replication_recovery'"
  );
}

/** Forms the group: the first node begins it, the others join one after the other. */
export async function formGroup(cluster: Cluster, nodes: readonly Node[]): Promise<void> {
  const [first, ...others] = nodes;
  if (first === undefined) throw new Error('a group without members');
  await asAdmin(cluster, first, async (ask) => {
    await ask('SET GLOBAL group_replication_bootstrap_group=ON');
    try {
      await ask('START GROUP_REPLICATION');
    } finally {
      await ask('SET GLOBAL group_replication_bootstrap_group=OFF');
    }
  });
  for (const node of others) await asAdmin(cluster, node, join);
  await Promise.all(nodes.map((node) => online(cluster, node)));
}

/** An Evenkeel in front of the sandbox may be letting it in, too. */
async function join(ask: Ask): Promise<void> {
  await ask('START GROUP_REPLICATION').catch((error: Error) => {
    if (!/already running|command is executing/.test(error.message)) throw error;
  });
}

/** The nodes with the one first that has all that the others have. */
export async function mostAdvancedFirst(cluster: Cluster, nodes: readonly Node[]): Promise<Node[]> {
  const executed = await Promise.all(
    nodes.map((node) => asAdmin(cluster, node, async (ask) => textOf(await gtids(ask), 'executed'))),
  );
  for (const node of nodes) {
    const lacking = await asAdmin(cluster, node, async (ask) => {
      const parts = executed.map(
        (gtid, i) => `GTID_SUBSET('${gtid.replaceAll(/\s/g, '')}', @@gtid_executed) AS has${i}`,
      );
      const row = await ask(`SELECT ${parts.join(', ')}`);
      return executed.filter((_, i) => Number(row[`has${i}`]) === 0).length;
    });
    if (lacking === 0) return [node, ...nodes.filter((one) => one !== node)];
  }
  throw new SandboxError(
    'start-failed',
    'no member has all transactions of the others, so none can begin the group anew; look at @@gtid_executed of each',
  );
}

const gtids = (ask: Ask) => ask('SELECT @@global.gtid_executed AS executed');

/** Whether a node is in a group that works. */
export async function isOnline(cluster: Cluster, node: Node): Promise<boolean> {
  const member = await asAdmin(cluster, node, memberState).catch(() => null);
  return member === 'ONLINE';
}

async function memberState(ask: Ask): Promise<string> {
  const row = await ask(
    'SELECT MAX(IF(MEMBER_ID = @@server_uuid, MEMBER_STATE, NULL)) AS state,' +
      " SUM(MEMBER_STATE = 'UNREACHABLE') * 2 >= COUNT(*) AS minority" +
      ' FROM performance_schema.replication_group_members',
  );
  return Number(row['minority']) === 1 ? 'UNREACHABLE' : textOf(row, 'state') || 'OFFLINE';
}

/** Resolves when the node takes part; rejects with what it is instead. */
export async function online(cluster: Cluster, node: Node): Promise<void> {
  const end = performance.now() + ONLINE_DEADLINE_MS;
  for (let state = ''; state !== 'ONLINE'; ) {
    state = await asAdmin(cluster, node, memberState);
    if (state === 'ONLINE') return;
    if (state === 'ERROR' || performance.now() > end) {
      throw new SandboxError('start-failed', `${node.name} is ${state} in its group; see error.log in its directory`);
    }
    await delay(50);
  }
}
