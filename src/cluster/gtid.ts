// GTID sets of both flavors, as pure values. MySQL's are what the server prints: uuid[:tag]:1-5:7,…
// MariaDB keeps no sets; its binary log state ("domain-server-seq,…", the last one of each pair) is read
// as the set of 1…seq of each domain and server. A MariaDB *position* holds one GTID per domain and is
// compared by sequence number within the domain, whichever server wrote it.
import type { Flavor } from '../messages/index.ts';

/** First and last sequence number, both included. */
export type Interval = readonly [first: number, last: number];

/** By `uuid`, `uuid:tag` (MySQL) or `domain-server` (MariaDB): sorted, disjoint, not touching intervals. */
export type GtidSet = ReadonlyMap<string, readonly Interval[]>;

/** A GTID text that neither flavor would print. */
export class GtidError extends Error {
  override readonly name = 'GtidError';
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TAG = /^[a-z_][a-z0-9_]{0,31}$/;

function sequenceNumber(text: string, whole: string): number {
  let value = text.length === 0 || text.length > 20 ? Number.NaN : 0;
  // A set can have ten thousand of them.
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 0x30;
    value = digit >= 0 && digit <= 9 ? value * 10 + digit : Number.NaN;
  }
  if (!Number.isSafeInteger(value)) throw new GtidError(`not a sequence number: "${text}" in "${clip(whole)}"`);
  return value;
}

function clip(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** Sorts and joins what overlaps or touches. What servers print is in order already. */
function normalized(intervals: Interval[]): Interval[] {
  if (intervals.every(([first], at) => at === 0 || first > (intervals[at - 1] as Interval)[1] + 1)) return intervals;
  const sorted = intervals.toSorted((a, b) => a[0] - b[0]);
  const result: Interval[] = [];
  for (const interval of sorted) {
    const last = result.at(-1);
    if (last !== undefined && interval[0] <= last[1] + 1) {
      result[result.length - 1] = [last[0], Math.max(last[1], interval[1])];
    } else {
      result.push(interval);
    }
  }
  return result;
}

function collect(parts: Iterable<readonly [string, Interval]>): GtidSet {
  const byKey = new Map<string, Interval[]>();
  for (const [key, interval] of parts) {
    const list = byKey.get(key);
    if (list === undefined) byKey.set(key, [interval]);
    else list.push(interval);
  }
  return new Map([...byKey].map(([key, list]) => [key, normalized(list)]));
}

function* mysqlParts(text: string): Generator<readonly [string, Interval]> {
  for (const group of text.split(',')) {
    const fields = group.replaceAll(/\s/g, '').toLowerCase().split(':');
    const uuid = fields[0] ?? '';
    if (uuid === '' && fields.length === 1) continue;
    if (!UUID.test(uuid)) throw new GtidError(`not a MySQL GTID set: "${clip(text)}"`);
    let key = uuid;
    for (let at = 1; at < fields.length; at++) {
      const field = fields[at] as string;
      if (TAG.test(field)) {
        key = `${uuid}:${field}`;
        continue;
      }
      const dash = field.indexOf('-');
      const first = sequenceNumber(dash < 0 ? field : field.slice(0, dash), text);
      const interval: Interval = [first, dash < 0 ? first : sequenceNumber(field.slice(dash + 1), text)];
      if (first === 0) throw new GtidError(`not a GTID interval: "${clip(field)}"`);
      // The server reads 5-3 as the empty interval, and so do we.
      if (interval[0] <= interval[1]) yield [key, interval];
    }
  }
}

interface MariadbGtid {
  domain: string;
  server: string;
  /** 1 unless the text is a difference. */
  first: number;
  seq: number;
}

function mariadbGtids(text: string): MariadbGtid[] {
  const result: MariadbGtid[] = [];
  for (const entry of text.split(',')) {
    const trimmed = entry.trim();
    if (trimmed === '') continue;
    const match = /^(\d{1,10})-(\d{1,10})-(?:(\d{1,20})\.\.)?(\d{1,20})$/.exec(trimmed);
    if (match === null) throw new GtidError(`not a MariaDB GTID: "${clip(trimmed)}"`);
    const [, domain = '', server = '', first = '1', seq = ''] = match;
    result.push({
      domain: String(Number(domain)),
      server: String(Number(server)),
      first: sequenceNumber(first, text),
      seq: sequenceNumber(seq, text),
    });
  }
  return result;
}

/** The same text is compared with many others: the longest are kept as read, the newest of them. */
const READ_BEFORE = new Map<string, GtidSet>();
const MAX_READ_BEFORE = 32;
const WORTH_KEEPING = 512;

/** Reads `@@gtid_executed` (MySQL) or `@@gtid_binlog_state` (MariaDB). Throws GtidError. */
export function parseGtidSet(flavor: Flavor, text: string): GtidSet {
  if (flavor === 'mysql') {
    if (text.length < WORTH_KEEPING) return collect(mysqlParts(text));
    const set = READ_BEFORE.get(text) ?? collect(mysqlParts(text));
    READ_BEFORE.delete(text);
    READ_BEFORE.set(text, set);
    if (READ_BEFORE.size > MAX_READ_BEFORE) READ_BEFORE.delete(READ_BEFORE.keys().next().value as string);
    return set;
  }
  return collect(
    mariadbGtids(text)
      .filter((gtid) => gtid.seq > 0 && gtid.first <= gtid.seq)
      .map((gtid) => [`${gtid.domain}-${gtid.server}`, [gtid.first, gtid.seq]] as const),
  );
}

function formatInterval([first, last]: Interval): string {
  return first === last ? `${first}` : `${first}-${last}`;
}

/**
 * The text of a set: canonical, so equal sets have equal texts. On MariaDB an interval that does not begin at 1
 * (only a difference has such) is written `domain-server-first..last`: ours, no server reads it.
 */
export function formatGtidSet(flavor: Flavor, set: GtidSet): string {
  const keys = [...set.keys()].sort();
  return keys
    .map((key) => {
      const intervals = set.get(key) ?? [];
      if (flavor === 'mysql') return `${key}:${intervals.map(formatInterval).join(':')}`;
      return intervals.map(([first, last]) => `${key}-${first === 1 ? last : `${first}..${last}`}`).join(',');
    })
    .join(',');
}

export function isEmpty(set: GtidSet): boolean {
  return set.size === 0;
}

/** How many transactions the set names. */
export function countGtids(set: GtidSet): number {
  let count = 0;
  for (const intervals of set.values()) for (const [first, last] of intervals) count += last - first + 1;
  return count;
}

export function union(a: GtidSet, b: GtidSet): GtidSet {
  const result = new Map(a);
  for (const [key, intervals] of b) result.set(key, normalized([...(result.get(key) ?? []), ...intervals]));
  return result;
}

/** One pass over both: a set has an interval more for every number that was given out and never used. */
function subtractIntervals(from: readonly Interval[], take: readonly Interval[]): Interval[] {
  const rest: Interval[] = [];
  let next = 0;
  for (const [first, last] of from) {
    let low = first;
    while (next < take.length && (take[next] as Interval)[1] < low) next++;
    // The last one that is looked at here may reach into the next interval, too.
    for (; next < take.length && low <= last; next++) {
      const [start, end] = take[next] as Interval;
      if (start > last) break;
      if (start > low) rest.push([low, start - 1]);
      low = end + 1;
      if (low > last) break;
    }
    if (low <= last) rest.push([low, last]);
  }
  return rest;
}

/** What is in `a` and not in `b`. */
export function subtract(a: GtidSet, b: GtidSet): GtidSet {
  const result = new Map<string, readonly Interval[]>();
  for (const [key, intervals] of a) {
    const rest = subtractIntervals(intervals, b.get(key) ?? []);
    if (rest.length > 0) result.set(key, rest);
  }
  return result;
}

/** Whether every transaction of `subset` is in `set`. */
export function contains(set: GtidSet, subset: GtidSet): boolean {
  return isEmpty(subtract(subset, set));
}

/** A MariaDB position: the sequence number reached in each domain. */
export type GtidPosition = ReadonlyMap<string, number>;

/**
 * Reads `gtid_current_pos`, `Gtid_IO_Pos` and the like; of several GTIDs in one domain (as in a binary log state)
 * the greatest counts. Throws GtidError.
 */
export function parsePosition(text: string): GtidPosition {
  const result = new Map<string, number>();
  for (const { domain, seq } of mariadbGtids(text)) result.set(domain, Math.max(seq, result.get(domain) ?? 0));
  return result;
}

/** Whether who stands at `have` has come at least as far as `want` in every domain. */
export function reaches(have: GtidPosition, want: GtidPosition): boolean {
  return [...want].every(([domain, seq]) => (have.get(domain) ?? 0) >= seq);
}

/** A text with one GTID per domain, the greatest, as MASTER_GTID_WAIT wants it. */
export function formatPositionOf(text: string): string {
  const greatest = new Map<string, MariadbGtid>();
  for (const gtid of mariadbGtids(text)) {
    if (gtid.seq > (greatest.get(gtid.domain)?.seq ?? -1)) greatest.set(gtid.domain, gtid);
  }
  return [...greatest.values()].map(({ domain, server, seq }) => `${domain}-${server}-${seq}`).join(',');
}

// The same on texts, as facts carry them. All throw GtidError on a text that no server prints.

/** Whether every transaction in `want` is in `have`. */
export function gtidContains(flavor: Flavor, have: string, want: string): boolean {
  return contains(parseGtidSet(flavor, have), parseGtidSet(flavor, want));
}

/** What is in `a` and not in `b`. For errant transactions read the replica's first and the primary's after it. */
export function gtidSubtract(flavor: Flavor, a: string, b: string): string {
  if (a === b) return ''; // replicas that have caught up: most of them, most of the time
  return formatGtidSet(flavor, subtract(parseGtidSet(flavor, a), parseGtidSet(flavor, b)));
}

export function gtidUnion(flavor: Flavor, a: string, b: string): string {
  return formatGtidSet(flavor, union(parseGtidSet(flavor, a), parseGtidSet(flavor, b)));
}

/** How many transactions the text names. */
export function gtidCount(flavor: Flavor, text: string): number {
  return countGtids(parseGtidSet(flavor, text));
}
