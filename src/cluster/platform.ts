// Clusters that a platform runs: Aurora, whose instances share one storage and tell who writes, and RDS, which is plain
// replication that somebody else promotes. Nothing is changed on such servers, and nobody is promoted: we read whom the
// platform has made the writer. On Aurora only one instance can write at any time; a reader says so by innodb_read_only.
import { joinAddress, type NodeAddress, splitAddress } from '../messages/index.ts';
import { type ProbeRows, toNumber } from './dialect.ts';
import { liveMembers, type MembersInput, type Verdict } from './members.ts';
import type { PrimaryChoice } from './primary.ts';
import type { AuroraFacts, NodeFacts, RdsFacts } from './types.ts';

/** Statements of the probe parts. Instances that are gone stay in the view for a while. */
export const PLATFORM_PARTS = {
  'platform-topology':
    "SELECT SERVER_ID AS instance, SESSION_ID = 'MASTER_SESSION_ID' AS writer, REPLICA_LAG_IN_MILLISECONDS AS lag_ms," +
    ' UNIX_TIMESTAMP(LAST_UPDATE_TIMESTAMP) AS updated FROM information_schema.replica_host_status' +
    ' WHERE LAST_UPDATE_TIMESTAMP > NOW() - INTERVAL 300 SECOND',
} as const;

/** Variables that tell a platform's servers from others. */
export const PLATFORM_VARIABLES = ['aurora_server_id', 'basedir'];

/** Null where nobody but the operator runs the server. */
export function platformOf(variables: ReadonlyMap<string, string>): AuroraFacts | RdsFacts | null {
  const instance = variables.get('aurora_server_id') ?? '';
  if (instance !== '')
    return { kind: 'aurora', instance, writer: null, updated: 0, queue: -1, lagMs: null, members: [] };
  return (variables.get('basedir') ?? '').startsWith('/rdsdbbin') ? { kind: 'rds', queue: -1, lagMs: null } : null;
}

/** The same with what the topology view says. */
export function platformFacts(platform: AuroraFacts | RdsFacts, rows: ProbeRows): AuroraFacts | RdsFacts {
  const found = rows['platform-topology'] ?? [];
  if (platform.kind === 'rds' || found.length === 0) return platform;
  const members = found.map((row) => ({
    instance: row['instance'] ?? '',
    writer: row['writer'] === '1',
    lagMs: row['lag_ms'] === null || row['lag_ms'] === undefined ? null : toNumber(row['lag_ms']),
    updated: toNumber(row['updated']),
  }));
  // Right after a change two are called writer; the younger entry is right.
  const [writer] = members.filter((one) => one.writer).toSorted((a, b) => b.updated - a.updated);
  return {
    ...platform,
    writer: writer?.instance ?? null,
    updated: writer?.updated ?? 0,
    lagMs: members.find(({ instance }) => instance === platform.instance)?.lagMs ?? null,
    members: members.map(({ instance }) => instance),
  };
}

/** Who writes. Another than the known one only where that does not write any more, by its own word or by its silence. */
export function chooseAuroraWriter(input: MembersInput): PrimaryChoice {
  const { known, observations } = input;
  const live = liveMembers(input, 'aurora');
  const writable = live.filter(({ facts }) => !facts.readOnly);
  // Of two that were asked at different times the one is right of whom the younger view speaks.
  const [newest] = live.filter(({ own }) => own.writer !== null).toSorted((a, b) => b.own.updated - a.own.updated);
  const named = writable.find(({ own }) => own.instance === newest?.own.writer);
  const writer = writable.length === 1 ? writable[0] : named;
  if (known === null) {
    if (writer !== undefined) return { node: writer.node, why: 'only-writer' };
    return { node: null, why: observations.some(({ at }) => at < 0) ? 'discovering' : 'no-writer' };
  }
  if (writer === undefined || writer.node === known) return { node: known, why: 'known' };
  return { node: writer.node, why: 'elected' };
}

export function auroraVerdict(facts: NodeFacts, isPrimary: boolean): Verdict {
  if (isPrimary && facts.readOnly) {
    return {
      state: 'read-only-primary',
      detail: 'the writer is a reader now: its platform has made another one, or will',
    };
  }
  if (!isPrimary && !facts.readOnly) {
    return { state: 'second-writer', detail: 'is a writer, too, by its own word: its platform is changing the writer' };
  }
  return { state: 'ok', detail: '' };
}

/**
 * Where another instance is reached, as far as it follows from where this one is: `a.xyz.eu-west-1.rds…` is next to
 * `b.xyz.eu-west-1.rds…`, and `name.cluster-xyz…` leads to one of them. Null where names say nothing.
 */
export function instanceAddress(node: NodeAddress, own: string, instance: string): NodeAddress | null {
  const { host, port } = splitAddress(node);
  if (host.toLowerCase().startsWith(`${own.toLowerCase()}.`)) {
    return joinAddress(`${instance}${host.slice(own.length)}`.toLowerCase(), port);
  }
  const cluster = /^[^.]+\.cluster-(?:ro-|custom-)?([^.]+\..+)$/i.exec(host);
  return cluster === null ? null : joinAddress(`${instance}.${cluster[1]}`.toLowerCase(), port);
}

/** Whether an address is a cluster's, which leads to one instance now and to another later. */
export function isClusterEndpoint(node: NodeAddress): boolean {
  return /^[^.]+\.cluster-/i.test(splitAddress(node).host);
}
