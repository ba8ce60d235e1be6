// The few questions that recovery asks of GTIDs, in both flavors' terms. MySQL's received and executed GTIDs are
// sets. MariaDB's received GTIDs are a position: one number per domain, compared within it, whoever wrote it.
import {
  contains,
  countGtids,
  formatGtidSet,
  type GtidSet,
  parseGtidSet,
  parsePosition,
  reaches,
  subtract,
} from '../cluster/index.ts';
import type { NodeFacts } from '../cluster/types.ts';
import { CHOSEN_UUID_PREFIX, type Flavor } from '../messages/index.ts';

/** A text of GTIDs in a record is cut here; the count says how many there are. */
const MAX_TEXT_CHARS = 300;

export interface Missing {
  count: number;
  /** For people; empty where nothing is missing. */
  text: string;
}

/** Whether a node that received `have` has everything up to `want` (both as `receivedBy` or `gtidPosition`). */
export function covers(flavor: Flavor, have: string, want: string): boolean {
  if (flavor === 'mysql') return contains(parseGtidSet(flavor, have), parseGtidSet(flavor, want));
  return reaches(parsePosition(have), parsePosition(want));
}

/** What of `want` a node that received `have` has not. */
export function missingFrom(flavor: Flavor, have: string, want: string): Missing {
  if (flavor === 'mysql') {
    const rest = subtract(parseGtidSet(flavor, want), parseGtidSet(flavor, have));
    return told(flavor, rest);
  }
  const from = parsePosition(have);
  let count = 0;
  const parts: string[] = [];
  for (const [domain, seq] of parsePosition(want)) {
    const first = (from.get(domain) ?? 0) + 1;
    if (seq < first) continue;
    count += seq - first + 1;
    parts.push(first === seq ? `domain ${domain}: ${seq}` : `domain ${domain}: ${first}..${seq}`);
  }
  return { count, text: shorten(parts.join(', ')) };
}

/** All that a node has, applied or not. */
export function receivedBy(facts: NodeFacts): string {
  const received = facts.replication?.received ?? '';
  // MariaDB forgets Gtid_IO_Pos when the receiver starts anew; what is applied was received all the same.
  return received !== '' && covers(facts.flavor, received, facts.gtidPosition) ? received : facts.gtidPosition;
}

export function hasNothing(flavor: Flavor, gtids: string): boolean {
  return flavor === 'mysql' ? parseGtidSet(flavor, gtids).size === 0 : parsePosition(gtids).size === 0;
}

/** Transactions that `node` executed and `primary` did not, and that the node wrote itself; empty text if none. */
export function ownTransactionsBeyond(node: NodeFacts, primary: NodeFacts): Missing {
  return told(node.flavor, ownBeyond(node, primary));
}

function ownBeyond(node: NodeFacts, primary: NodeFacts): GtidSet {
  const { flavor } = node;
  const extra = subtract(parseGtidSet(flavor, node.gtidExecuted), parseGtidSet(flavor, primary.gtidExecuted));
  return new Map([...extra].filter(([key]) => isOwn(key, node)));
}

/** As `receivedBy`, without what the node wrote itself: errant transactions put nobody ahead of anyone. */
export function receivedFromOthers(node: NodeFacts, primary: NodeFacts): string {
  const { flavor } = node;
  const all = receivedBy(node);
  const own = ownBeyond(node, primary);
  if (own.size === 0) return all;
  if (flavor === 'mysql') return formatGtidSet(flavor, subtract(parseGtidSet(flavor, all), own));
  // What it got from its source, in its source's numbers. Where it has forgotten that, its binary log names the others.
  const received = node.replication?.received ?? '';
  if (received !== '' || !node.logReplicaUpdates) return received === '' ? all : received;
  return node.gtidExecuted
    .split(',')
    .filter((gtid) => gtid !== '' && gtid.trim().split('-')[1] !== String(node.serverId))
    .join(',');
}

/** What `other` received of what `writer` itself wrote, and `writer` has not any more. */
export function lostBy(writer: NodeFacts, other: NodeFacts): Missing {
  const { flavor } = writer;
  if (flavor === 'mysql') {
    const beyond = subtract(parseGtidSet(flavor, receivedBy(other)), parseGtidSet(flavor, writer.gtidExecuted));
    const own = [...beyond].filter(([key]) => isOwn(key, writer) || key.startsWith(CHOSEN_UUID_PREFIX));
    return told(flavor, new Map(own));
  }
  const written = (text: string) =>
    text
      .split(',')
      .filter((gtid) => gtid.trim().split('-')[1] === String(writer.serverId))
      .join(',');
  return missingFrom(flavor, written(writer.gtidExecuted), written(`${other.gtidExecuted},${receivedBy(other)}`));
}

/** A set, for people. */
export function told(flavor: Flavor, set: GtidSet): Missing {
  return { count: countGtids(set), text: shorten(formatGtidSet(flavor, set)) };
}

function isOwn(key: string, node: NodeFacts): boolean {
  if (node.flavor === 'mariadb') return key.split('-')[1] === String(node.serverId);
  // Under a number that a worker chose it was written here, unless it came from a source.
  if (key.startsWith(CHOSEN_UUID_PREFIX) && node.replication === null) return true;
  return key.split(':')[0] === node.identity.toLowerCase();
}

function shorten(text: string): string {
  return text.length > MAX_TEXT_CHARS ? `${text.slice(0, MAX_TEXT_CHARS)}…` : text;
}
