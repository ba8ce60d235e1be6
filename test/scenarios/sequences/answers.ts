// Whole answers, packet by packet, as lines that can be compared and printed. Every byte of a packet counts, except
// for what must differ: the status of the EOF behind columns (nobody knows there yet what follows the rows), the order
// of tracked changes (a hash table's) and the numbers of prepared statements.
import { createHash } from 'node:crypto';
import { Capability, parseErr, parseOk, ServerStatus } from '../../../src/wire/index.ts';
import { parseSessionState } from '../../../src/wire/session-state.ts';
import type { Wire } from './types.ts';

const ERR = 0xff;
const EOF = 0xfe;
const LONG_BYTES = 400;

export interface Prepared {
  id: number;
  parameters: number;
}

/** Reads one answer after the other from a connection. */
export class AnswerReader {
  readonly #wire: Wire;
  #lines: string[] = [];
  /** Where in `#lines` the columns of the result are. */
  #variables = { at: 0, columns: 0 };

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** A single packet: OK, EOF or ERR. */
  async single(): Promise<string[]> {
    const payload = await this.#next();
    if (payload[0] === ERR) this.#err(payload);
    else if (payload[0] === EOF && payload.length === 5) this.#say(`EOF ${payload.toString('hex')}`);
    else this.#ok(payload);
    return this.#take();
  }

  /** The answer of a statement: results, one after the other. */
  async results(): Promise<string[]> {
    for (let more = true; more; ) more = await this.#result();
    return this.#take();
  }

  /** Rows alone, as COM_STMT_FETCH gives them. */
  async fetched(): Promise<string[]> {
    await this.#rows();
    return this.#take();
  }

  async prepared(): Promise<{ lines: string[]; statement: Prepared | null }> {
    const payload = await this.#next();
    if (payload[0] === ERR) {
      this.#err(payload);
      return { lines: this.#take(), statement: null };
    }
    const id = payload.readUInt32LE(1);
    const [columns, parameters] = [payload.readUInt16LE(5), payload.readUInt16LE(7)];
    this.#say(`PREPARED columns=${columns} parameters=${parameters} ${payload.subarray(9).toString('hex')}`);
    for (const count of [parameters, columns]) {
      for (let i = 0; i < count; i++) this.#say(withoutVariables(column(await this.#next())));
      if (count > 0 && !this.#deprecatesEof) this.#say(eofBehindColumns(await this.#next()));
    }
    return { lines: this.#take(), statement: { id, parameters } };
  }

  get #deprecatesEof(): boolean {
    return (this.#wire.capabilities & Capability.DEPRECATE_EOF) !== 0;
  }

  #sequence = 0;

  async #next(): Promise<Buffer> {
    const packet = await this.#wire.packet();
    this.#sequence = packet.lastSequence;
    return packet.payload;
  }

  #say(line: string): void {
    this.#lines.push(`#${this.#sequence} ${line}`);
  }

  #take(): string[] {
    return this.#lines.splice(0);
  }

  /** True where another result follows. */
  async #result(): Promise<boolean> {
    const first = await this.#next();
    if (first[0] === ERR) return this.#err(first);
    if (first[0] === 0) return this.#ok(first);
    const columns = first[0] === 0xfc ? first.readUInt16LE(1) : (first[0] ?? 0);
    this.#say(`columns=${columns}`);
    const at = this.#lines.length;
    for (let i = 0; i < columns; i++) this.#say(column(await this.#next()));
    this.#variables = { at, columns };
    if (!this.#deprecatesEof) {
      const eof = await this.#next();
      this.#say(eofBehindColumns(eof));
      // With a cursor the rows are fetched.
      if ((eof.readUInt16LE(3) & ServerStatus.CURSOR_EXISTS) !== 0) return false;
    }
    return this.#rows();
  }

  async #rows(): Promise<boolean> {
    for (;;) {
      const payload = await this.#next();
      if (payload[0] === ERR) return this.#err(payload);
      if (payload[0] === EOF && payload.length < 0xffffff) {
        if (this.#deprecatesEof) return this.#ok(payload);
        if (payload.length === 5) {
          const status = payload.readUInt16LE(3);
          this.#say(`EOF warnings=${payload.readUInt16LE(1)} status=${statusText(status)}`);
          return (status & ServerStatus.MORE_RESULTS_EXISTS) !== 0;
        }
      }
      this.#say(`row ${printable(payload).replace(/.?(The statement \()\d+/, '$1N')}`);
      this.#forgetTypesOfNull(payload);
    }
  }

  /**
   * A user variable that is NULL has a type all the same: that of what was assigned to it last, by whomever on the same
   * connection. No value depends on it, and a session takes it along as far as it is a number's only.
   */
  #forgetTypesOfNull(row: Buffer): void {
    const { at, columns } = this.#variables;
    const nulls = nullColumns(row, columns);
    for (let i = 0; i < columns; i++) {
      const line = this.#lines[at + i] ?? '';
      if (row[0] === 0) this.#lines[at + i] = withoutVariables(line); // a binary row
      if (nulls.has(i)) this.#lines[at + i] = line.replace(/(column \..*) charset=.*/, '$1 of a NULL');
    }
  }

  #err(payload: Buffer): false {
    const { errno, sqlState, message } = parseErr(payload);
    // Which row it is, MariaDB says even of what has no rows: then it is another statement's.
    const text = message.replace(/((?:handler|statement) \()\d+/i, '$1N').replace(/ at row \d+$/, '');
    this.#say(`ERR ${errno} ${sqlState} ${text}`);
    return false;
  }

  #ok(payload: Buffer): boolean {
    const ok = parseOk(payload, this.#wire.capabilities);
    const told = parseSessionState(ok.sessionState)
      .filter(({ kind }) => kind === 'variable' || kind === 'schema')
      .map((change) => JSON.stringify(change))
      .toSorted();
    this.#say(
      [
        payload[0] === 0 ? 'OK' : 'END',
        `affected=${ok.affectedRows} insertId=${ok.insertId} status=${statusText(ok.status)} warnings=${ok.warnings}`,
        ...(ok.info.length > 0 ? [JSON.stringify(ok.info.toString('latin1'))] : []),
        ...told,
      ].join(' '),
    );
    return (ok.status & ServerStatus.MORE_RESULTS_EXISTS) !== 0;
  }
}

/** Without the type of a user variable, which may be NULL. */
export function withoutVariables(line: string): string {
  return line.replace(/(column \.[^ ]*@.*) charset=.*/, '$1 of a variable');
}

/** Which values of a row of text are NULL; none where it is a binary one. */
function nullColumns(row: Buffer, columns: number): Set<number> {
  const nulls = new Set<number>();
  let at = 0;
  for (let i = 0; i < columns; i++) {
    const head = row[at++] ?? 0;
    if (head === 0xfb) nulls.add(i);
    else if (head === 0xfc) at += 2 + row.readUInt16LE(at);
    else if (head < 0xfb) at += head;
    else return new Set();
    if (at > row.length) return new Set();
  }
  return at === row.length ? nulls : new Set();
}

const STATUS_NAMES = Object.entries(ServerStatus).filter(([name]) => name !== 'SESSION_STATE_CHANGED');

function statusText(status: number): string {
  const names = STATUS_NAMES.filter(([name, bit]) => (status & bit) !== 0 && name !== 'QUERY_WAS_SLOW');
  return names.map(([name]) => name).join('|');
}

function eofBehindColumns(payload: Buffer): string {
  return payload[0] === EOF && payload.length === 5 ? 'EOF' : `not an EOF: ${payload.toString('hex')}`;
}

/** A column's definition, readable: names, then character set, length, type, flags and decimals. */
function column(payload: Buffer): string {
  const names: string[] = [];
  let at = 0;
  for (let i = 0; i < 6; i++) {
    const length = payload[at] ?? 0;
    names.push(printable(payload.subarray(at + 1, at + 1 + length)));
    at += 1 + length;
  }
  if (payload[at] !== 0x0c || payload.length < at + 13) return `column ${printable(payload)}`;
  const [, schema, table, original, name, originalName] = names;
  const types =
    `charset=${characterSet(payload.readUInt16LE(at + 1))} length=${payload.readUInt32LE(at + 3)} type=0x${payload[at + 7]?.toString(16)} ` +
    `flags=0x${payload.readUInt16LE(at + 8).toString(16)} decimals=${payload[at + 10]}`;
  // Of an expression the length, and so the kind of text, follow from what its operands were before they were NULL, and
  // from how long the number is that CONNECTION_ID() or ROW_COUNT() stand for.
  if (table === '' && original === '') return `column .${name} charset=${characterSet(payload.readUInt16LE(at + 1))}`;
  const rest = payload.subarray(at + 11);
  return `column ${schema}.${table}(${original}).${name}(${originalName}) ${types}${rest.equals(Buffer.alloc(2)) ? '' : ` ${rest.toString('hex')}`}`;
}

/**
 * Results have the character set of the session, and a collation of it that is nobody's business: a character set that is
 * restored brings its default.
 */
function characterSet(collation: number): string {
  const of = (...ranges: [number, number][]): boolean =>
    ranges.some(([from, to]) => from <= collation && collation <= to);
  if (of([45, 46], [224, 247], [255, 323])) return 'utf8mb4';
  if (of([33, 33], [76, 76], [83, 83], [192, 223])) return 'utf8mb3';
  if (of([5, 5], [8, 8], [15, 15], [31, 31], [47, 49], [94, 94])) return 'latin1';
  return String(collation);
}

function printable(bytes: Buffer): string {
  if (bytes.length > LONG_BYTES) return `${bytes.length} bytes ${createHash('sha256').update(bytes).digest('hex')}`;
  let text = '';
  for (const byte of bytes) {
    text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return text;
}
