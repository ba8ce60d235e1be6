// What a session's reads must not be older than: its own writes, by the GTIDs that servers tell of them. Pure.
//
// A write makes the session *dirty* until its GTID has been told; so it stays after an error, a lost answer, a rollback, for
// any of these may have left something behind. A dirty session reads from the primary, and asks there how far that has come
// (`resolve`): whatever it wrote is in that. So nothing rests on every write's being told of.
import type { Flavor } from '../messages/index.ts';

/** First and last number, both included. */
type Interval = [first: number, last: number];

/** What a position takes in beyond what the primary said of itself; with more the primary is asked again. */
const MAX_MORE = 256;
/** A longer text of a primary is not sent to its replicas with reads. */
const MAX_TEXT_CHARS = 16 * 1024;

/** GTIDs, as the servers of one family write them. Grows only. */
export class Position {
  /** MySQL: by `uuid` or `uuid:tag`. */
  #sets = new Map<string, Interval[]>();
  /** MariaDB: by domain. */
  #domains = new Map<number, { server: number; seq: number }>();
  #intervals = 0;
  #text: string | null = null;

  /** How many there are; none of MariaDB's. */
  get intervals(): number {
    return this.#intervals;
  }

  /** Takes in what a server wrote. False: it is none of its family's texts. */
  add(flavor: Flavor, text: string): boolean {
    this.#text = null;
    return flavor === 'mysql' ? this.#addSets(text) : this.#addDomains(text);
  }

  #addSets(text: string): boolean {
    for (const part of text.split(',')) {
      const [uuid = '', ...fields] = part.trim().toLowerCase().split(':');
      if (uuid === '' && fields.length === 0) continue;
      if (!UUID.test(uuid)) return false;
      let key = uuid;
      // A name by itself names nothing.
      if (fields.length === 0 || TAG.test(fields.at(-1) ?? '')) return false;
      for (const field of fields) {
        const interval = INTERVAL.exec(field);
        if (interval === null) {
          if (!TAG.test(field)) return false;
          key = `${uuid}:${field}`;
          continue;
        }
        const first = Number(interval[1]);
        const last = Number(interval[2] ?? first);
        if (first === 0 || last < first) return false;
        this.#insert(key, [first, last]);
      }
    }
    return true;
  }

  #insert(key: string, added: Interval): void {
    const known = this.#sets.get(key);
    const kept: Interval[] = [];
    let [first, last] = added;
    for (const one of known ?? []) {
      if (one[1] + 1 < first || last + 1 < one[0]) kept.push(one);
      else {
        first = Math.min(first, one[0]);
        last = Math.max(last, one[1]);
      }
    }
    const at = kept.findIndex((one) => one[0] > last);
    kept.splice(at < 0 ? kept.length : at, 0, [first, last]);
    this.#intervals += kept.length - (known?.length ?? 0);
    this.#sets.set(key, kept);
  }

  #addDomains(text: string): boolean {
    for (const part of text.split(',')) {
      if (part.trim() === '') continue;
      const match = GTID.exec(part.trim());
      if (match === null) return false;
      const [domain, server, seq] = [Number(match[1]), Number(match[2]), Number(match[3])];
      if (domain > MAX_UINT32 || server > MAX_UINT32) return false;
      if (seq >= (this.#domains.get(domain)?.seq ?? 0)) this.#domains.set(domain, { server, seq });
    }
    return true;
  }

  /** As a server reads it. */
  get text(): string {
    this.#text ??= [
      ...[...this.#sets].map(([key, intervals]) => `${key}:${intervals.map(shown).join(':')}`),
      ...[...this.#domains].map(([domain, { server, seq }]) => `${domain}-${server}-${seq}`),
    ].join(',');
    return this.#text;
  }
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TAG = /^[a-z_][a-z0-9_]{0,31}$/;
const INTERVAL = /^(\d{1,15})(?:-(\d{1,15}))?$/;
const MAX_UINT32 = 0xffff_ffff;
const GTID = /^(\d{1,10})-(\d{1,10})-(\d{1,15})$/;

function shown([first, last]: Interval): string {
  return first === last ? `${first}` : `${first}-${last}`;
}

/** A server process as far as it has been told of: what it has executed it keeps for as long as it lives. */
export interface Incarnation {
  /** Another one after every connection that broke. */
  readonly incarnation: number;
}

/** Of a session. */
export class Causality {
  readonly flavor: Flavor;
  /** All that is read must be at least as new as this, and as what is dirty. Null: nothing has been written. */
  #position: Position | null = null;
  /** Something may have been written of which no GTID was told. */
  #dirty = false;
  /** One was told since the statement began. */
  #told = false;
  /** Of what the primary said of itself. */
  #base = 0;
  /** There is more than is kept. */
  #overflows = false;
  /** The primary's epoch that the position is of. */
  #epoch: number;
  /** Which servers were seen to have reached the position. */
  #reached: Map<Incarnation, number> | null = null;

  constructor(flavor: Flavor, epoch: number) {
    this.flavor = flavor;
    this.#epoch = epoch;
  }

  /** A statement sets out. `mayWrite`: it may leave something behind, now or when its transaction commits. */
  begins(mayWrite: boolean): void {
    this.#told = false;
    if (mayWrite) this.#dirty = true;
  }

  /** A server named what was committed. */
  tell(text: string): void {
    if (text === '') return;
    if (this.#overflows || this.#add(text)) this.#told = true;
    else this.#dirty = true;
  }

  #add(text: string): boolean {
    this.#position ??= new Position();
    this.#reached = null;
    const added = this.#position.add(this.flavor, text);
    // None is left out: replicas might not have it.
    this.#overflows = this.#position.intervals > this.#base + MAX_MORE;
    return added;
  }

  /** What a client wants to see from now on, whoever wrote it. False: it is not understood. */
  mustSee(text: string): boolean {
    const said = new Position();
    return said.add(this.flavor, text) && said.text !== '' && (this.#overflows || this.#add(text));
  }

  /** The statement has had its answer. `clean`: it did not fail, and no transaction is open. */
  ends(clean: boolean): void {
    if (clean && this.#told) this.#dirty = false;
  }

  /** How far the primary has come, asked after all that the session wrote. False: that cannot be made use of. */
  resolve(text: string): boolean {
    const position = new Position();
    if (text === '' || text.length > MAX_TEXT_CHARS || !position.add(this.flavor, text)) return false;
    if (position.text !== this.#position?.text) this.#reached = null;
    this.#replace(position);
    this.#dirty = false;
    return true;
  }

  /** Anything may have been written. */
  doubt(): void {
    this.#dirty = true;
  }

  /** After a change of primary, what was written under the one before is where the new one is, or it is lost. */
  enter(epoch: number): void {
    if (epoch === this.#epoch) return;
    this.#epoch = epoch;
    if (this.#position !== null) this.#dirty = true;
    this.#replace(null);
    this.#reached = null;
  }

  #replace(position: Position | null): void {
    this.#position = position;
    this.#base = position?.intervals ?? 0;
    this.#overflows = false;
  }

  /** No replica can be known to have all of it. */
  get dirty(): boolean {
    return this.#dirty || this.#overflows;
  }

  /** What a server must have executed before it is read from; null where it is known to have. */
  missing(server: Incarnation): string | null {
    const position = this.#position;
    return position === null || this.#reached?.get(server) === server.incarnation ? null : position.text;
  }

  /** The server, as it was then, has executed `text`, which was missing. */
  reached(server: Incarnation, incarnation: number, text: string): void {
    if (this.#position?.text !== text) return;
    this.#reached ??= new Map();
    this.#reached.set(server, incarnation);
  }
}

/** SQL that waits, and tells 0 where the server has come as far in time. */
export function waitFor(flavor: Flavor, text: string, timeoutMs: number): string {
  const call = flavor === 'mysql' ? 'WAIT_FOR_EXECUTED_GTID_SET' : 'MASTER_GTID_WAIT';
  // MySQL takes 0 for ever.
  return `SELECT ${call}('${text}', ${(Math.max(1, timeoutMs) / 1000).toFixed(3)}) LIMIT 1`;
}

/** SQL that tells how far a primary has come. */
export function askPosition(flavor: Flavor): string {
  return flavor === 'mysql' ? 'SELECT @@global.gtid_executed LIMIT 1' : 'SELECT @@global.gtid_binlog_pos LIMIT 1';
}
