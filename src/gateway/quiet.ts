// Commands of our own on a server connection, whose answers no client sees: session state being brought up to date, a
// value read back, a statement being prepared again. All are sent in one flight.
import {
  type AnswerShape,
  Capability,
  type ErrPacket,
  type OkPacket,
  PacketReader,
  type SessionChange,
} from '../wire/index.ts';
import type { Exchange, Loss, ServerConnection } from './server-connection.ts';

/** The first row of an answer, as text. */
export interface QuietRow {
  columns: { type: number; flags: number }[];
  values: (string | null)[];
}

export interface QuietCommand {
  packet: Buffer;
  /** For the error's text. */
  what: string;
  shape?: AnswerShape;
  /** Takes the first row of its answer; null where there is none. */
  row?: (row: QuietRow | null) => void;
  ok?: (ok: OkPacket, changes: readonly SessionChange[]) => void;
  /** Takes the id of what it prepared, which is then no result of the whole. */
  prepared?: (id: number) => void;
  /** Takes the whole answer as a client would get it; null where it failed or is too long. */
  whole?: { capabilities: number; status: number; maxBytes: number; take: (answer: Buffer | null) => void };
  /** It failed, and that is no failure of the whole. */
  failed?: (err: ErrPacket) => void;
}

export type QuietResult =
  /** `statementId`: of the last COM_STMT_PREPARE among them that has no `prepared`. */
  | { kind: 'done'; statementId: number }
  /** The first error; the commands behind it were sent all the same. */
  | { kind: 'error'; err: ErrPacket; what: string; at: number }
  | { kind: 'lost'; loss: Loss };

/** Not `BEGIN`, which begins a block in MariaDB's Oracle mode. */
export const BEGIN = 'START TRANSACTION';

/** What our own commands take; they are small. */
const EXPECTED_US = 20;
const CAPABILITIES = Capability.DEPRECATE_EOF | Capability.SESSION_TRACK;

/** Sends `commands`, and calls back once, when the last answer is there or the connection broke. */
export function runQuietly(
  link: ServerConnection,
  commands: readonly QuietCommand[],
  callback: (result: QuietResult) => void,
): void {
  if (commands.length === 0) return queueMicrotask(() => callback({ kind: 'done', statementId: 0 }));
  const run: Run = { left: commands.length, failure: null, statementId: 0, callback };
  commands.forEach((command, at) => link.send(command.packet, new QuietExchange(run, command, at)));
}

interface Run {
  left: number;
  failure: QuietResult | null;
  statementId: number;
  callback: (result: QuietResult) => void;
}

class QuietExchange implements Exchange {
  readonly shape: AnswerShape;
  readonly clientCapabilities: number;
  readonly status: number;
  readonly expectedUs = EXPECTED_US;
  readonly costSlot = -1;
  /** What is kept for a client is read between its transactions, perhaps within one that is not its own. */
  readonly hidesTransaction: boolean;
  #run: Run;
  #command: QuietCommand;
  #at: number;
  #answer: Buffer[] | null;
  #left: number;

  constructor(run: Run, command: QuietCommand, at: number) {
    this.#run = run;
    this.#command = command;
    this.#at = at;
    const { shape, row, whole } = command;
    this.shape = shape ?? 'result';
    this.clientCapabilities = whole?.capabilities ?? CAPABILITIES;
    this.hidesTransaction = whole !== undefined;
    this.status = whole?.status ?? 0;
    this.#left = whole?.maxBytes ?? Number.POSITIVE_INFINITY;
    this.#answer = row === undefined && whole === undefined ? null : [];
  }

  forward(piece: Buffer): void {
    this.#left -= piece.length;
    if (this.#left < 0) this.#answer = null;
    this.#answer?.push(Buffer.from(piece));
  }

  ok(ok: OkPacket, changes: readonly SessionChange[]): void {
    this.#command.ok?.(ok, changes);
  }

  error(err: ErrPacket): boolean {
    this.#answer = null;
    if (this.#command.failed !== undefined) this.#command.failed(err);
    else this.#run.failure ??= { kind: 'error', err, what: this.#command.what, at: this.#at };
    return false;
  }

  localInfile(): void {
    throw new Error('a file was asked for where none was offered');
  }

  prepared(id: number): number {
    if (this.#command.prepared === undefined) this.#run.statementId = id;
    else this.#command.prepared(id);
    return id;
  }

  end(): void {
    const run = this.#run;
    const answer = this.#answer === null ? null : Buffer.concat(this.#answer);
    if (answer !== null) this.#command.row?.(firstRow(answer));
    this.#command.whole?.take(answer);
    if (--run.left === 0) run.callback(run.failure ?? { kind: 'done', statementId: run.statementId });
  }

  lost(loss: Loss): void {
    const run = this.#run;
    if (run.left <= 0) return;
    run.left = 0;
    run.callback({ kind: 'lost', loss });
  }
}

/** A text result: column count, definitions, rows, end. */
function firstRow(answer: Buffer): QuietRow | null {
  const reader = new PacketReader(1 << 24);
  reader.push(answer);
  const count = reader.next()?.payload[0] ?? 0;
  const columns: QuietRow['columns'] = [];
  for (let at = 0; at < count; at++) {
    const definition = reader.next()?.payload ?? Buffer.alloc(13);
    // At the end: type, flags, decimals, two bytes of filler.
    const type = definition[definition.length - 6] as number;
    columns.push({ type, flags: definition.readUInt16LE(definition.length - 5) });
  }
  const row = reader.next()?.payload;
  if (row === undefined || row[0] === 0xfe) return null;
  const values: (string | null)[] = [];
  for (let at = 0; at < row.length; ) {
    const head = row[at++] as number;
    if (head === 0xfb) {
      values.push(null);
      continue;
    }
    const wide = head === 0xfc ? 2 : head === 0xfd ? 3 : head === 0xfe ? 8 : 0;
    const length = wide === 0 ? head : wide === 8 ? Number(row.readBigUInt64LE(at)) : row.readUIntLE(at, wide);
    at += wide;
    // A result in a wide character set: what we ask for is ASCII.
    values.push(row.toString('latin1', at, at + length).replaceAll('\0', ''));
    at += length;
  }
  return { columns, values };
}
