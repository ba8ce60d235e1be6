// MariaDB Galera: what a member says of its cluster, and what follows. Every member could take writes; one does, and who
// that is stands in the members themselves: it is the one that is not read-only. So Evenkeel, an operator and a second
// Evenkeel see the same. What a member was told to be safe is safe while its component is the primary one.
import { joinAddress, type NodeAddress, splitAddress } from '../messages/index.ts';
import { isOn, nameValues, type ProbeRows, toNumber } from './dialect.ts';
import { type LiveMember, liveMembers, type MembersInput, type Verdict } from './members.ts';
import type { PrimaryChoice } from './primary.ts';
import type { GaleraFacts, NodeFacts } from './types.ts';

/** Statements of the probe parts. */
export const GALERA_PARTS = {
  'galera-settings':
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_on', 'wsrep_provider', 'wsrep_desync', 'wsrep_reject_queries')",
  'galera-status':
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_state_uuid', 'wsrep_cluster_status'," +
    " 'wsrep_cluster_size', 'wsrep_cluster_conf_id', 'wsrep_local_state', 'wsrep_local_state_comment', 'wsrep_ready'," +
    " 'wsrep_incoming_addresses', 'wsrep_local_recv_queue')",
} as const;

/** Lets a connection read while the member refuses its clients; before anything else is asked. */
export const READ_UNREADY = 'SET SESSION wsrep_dirty_reads = ON';

const STATES: Record<string, GaleraFacts['state']> = { '1': 'joiner', '2': 'donor', '3': 'joined', '4': 'synced' };

/** What the rows say; null where the server is set up to be no member. */
export function galeraFacts(rows: ProbeRows): GaleraFacts | null {
  const settings = nameValues(rows['galera-settings'] ?? []);
  const provider = settings.get('wsrep_provider') ?? 'none';
  if (!isOn(settings.get('wsrep_on')) || provider === '' || provider === 'none') return null;
  const status = nameValues(rows['galera-status'] ?? []);
  const component = status.get('wsrep_cluster_status')?.toLowerCase() ?? '';
  return {
    kind: 'galera',
    cluster: status.get('wsrep_cluster_state_uuid') ?? '',
    component: component === 'primary' || component === 'non-primary' ? component : 'disconnected',
    state: STATES[status.get('wsrep_local_state') ?? ''] ?? 'other',
    stateText: status.get('wsrep_local_state_comment') ?? '',
    ready: isOn(status.get('wsrep_ready')) && !isOn(settings.get('wsrep_reject_queries')?.replace(/^none$/i, '')),
    desynced: isOn(settings.get('wsrep_desync')),
    size: toNumber(status.get('wsrep_cluster_size')),
    configuration: toNumber(status.get('wsrep_cluster_conf_id'), -1),
    queue: toNumber(status.get('wsrep_local_recv_queue')),
    lagMs: null,
    members: galeraAddresses(status.get('wsrep_incoming_addresses') ?? ''),
  };
}

/** What `wsrep_incoming_addresses` says. */
export function galeraAddresses(text: string): NodeAddress[] {
  return text.split(',').flatMap(addressOf);
}

/** A member that was told no address says `AUTO`, one of another kind (the arbitrator) nothing. */
function addressOf(text: string): NodeAddress[] {
  const trimmed = text.trim();
  if (trimmed === '' || /^(?:AUTO|unspecified|undefined)$/i.test(trimmed)) return [];
  try {
    const { host, port } = splitAddress(/:\d+$/.test(trimmed) ? trimmed : `${trimmed}:3306`);
    return port === 0 ? [] : [joinAddress(host, port)];
  } catch {
    return []; // Whatever it is, nobody can be reached there.
  }
}

/** Whether a member could be the writer: it takes part, keeps up, and answers clients. */
export function couldWrite({ component, state, ready, desynced }: GaleraFacts): boolean {
  return component === 'primary' && state === 'synced' && ready && !desynced;
}

/** Whether `own`'s component is without `node`: what that one might still hold can reach nobody any more. */
export function isWithout(own: GaleraFacts, node: NodeAddress): boolean {
  // Only where every member told its address is one that is not among them no member.
  return own.component === 'primary' && own.members.length === own.size && !own.members.includes(node);
}

/** Who takes the writes. Another than the known one only where that has given it up, or is no member any more. */
export function chooseGaleraWriter(input: MembersInput): PrimaryChoice {
  const { known, observations } = input;
  const live = liveMembers(input, 'galera');
  const writers = live.filter(({ own, facts }) => couldWrite(own) && !facts.readOnly);
  if (known === null) {
    if (observations.some(({ at }) => at < 0)) return { node: null, why: 'discovering' };
    const [first] = writers;
    if (first === undefined) return { node: null, why: 'no-writer' };
    return { node: first.node, why: writers.length === 1 ? 'only-writer' : 'first-writer' };
  }
  const own = live.find(({ node }) => node === known);
  const others = writers.filter(({ node }) => node !== known);
  const [other] = others;
  if (other === undefined || others.length > 1) return { node: known, why: 'known' };
  const gaveUp = own === undefined ? isWithout(other.own, known) : own.facts.readOnly && sameCluster(own, other);
  return gaveUp ? { node: other.node, why: 'moved-by-hand' } : { node: known, why: 'known' };
}

function sameCluster(a: LiveMember<GaleraFacts>, b: LiveMember<GaleraFacts>): boolean {
  return a.own.cluster === b.own.cluster;
}

/** `oneWriter`: all but one are kept read-only. */
export function galeraVerdict(own: GaleraFacts, facts: NodeFacts, isPrimary: boolean, oneWriter: boolean): Verdict {
  if (own.component === 'non-primary') {
    return { state: 'no-majority', detail: 'sees no majority of its cluster (wsrep_cluster_status is non-Primary)' };
  }
  if (own.component === 'disconnected') {
    return { state: 'member-out', detail: 'is not connected to its cluster (wsrep_connected is OFF)' };
  }
  if (own.state === 'joiner' || own.state === 'joined') {
    return { state: 'member-joining', detail: `is being brought up to date by its cluster (${own.stateText})` };
  }
  if (own.state === 'donor' || own.desynced) {
    return { state: 'desynced', detail: `does not keep up with its cluster on purpose (${own.stateText})` };
  }
  if (!own.ready || own.state === 'other') {
    return {
      state: 'member-out',
      detail: `does not take statements (${own.stateText}, wsrep_ready or wsrep_reject_queries)`,
    };
  }
  if (isPrimary && facts.readOnly) {
    return { state: 'read-only-primary', detail: 'the writer is read-only: it takes no writes' };
  }
  if (!isPrimary && !facts.readOnly && oneWriter) {
    return { state: 'second-writer', detail: 'takes writes beside the one writer: SET GLOBAL read_only = ON' };
  }
  return { state: 'ok', detail: '' };
}

/** What a node says of its Galera cluster; null where it is in none. */
export function galeraOf(facts: NodeFacts | null): GaleraFacts | null {
  return facts?.topology?.kind === 'galera' ? facts.topology : null;
}

/** Whether those that answer are all members of `own`'s component: then who does not answer is none. */
export function leftBehindBy(own: GaleraFacts, answering: readonly (GaleraFacts | null)[]): boolean {
  const beside = answering.filter(
    (other) =>
      other?.component === 'primary' && other.cluster === own.cluster && other.configuration === own.configuration,
  );
  return own.component === 'primary' && beside.length === own.size;
}
