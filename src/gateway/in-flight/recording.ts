// An open transaction as it went so far, to be run again on another server: its statements, and of each answer as much
// as tells whether the client would be shown the same. Bounded: one that grew too long, or that holds something which
// cannot be done twice, has a fault, and is lost with its server.
import type { Classification } from '../../sql/index.ts';
import type { Packet } from '../../wire/index.ts';
import type { ServerRequest } from '../command.ts';
import type { LinkState } from '../link-state.ts';

/** Of an answer: equal for equal answers, whichever server gave them. */
export interface AnswerMark {
  /** Of columns and rows. */
  digest: number;
  affectedRows: bigint;
  insertId: bigint;
  /** 0: no error. */
  errno: number;
}

/** What a statement found when it ran, beside the data. */
export interface Circumstances {
  /** Milliseconds since 1970, by our clock. */
  sentAtMs: number;
  /** SQL that sets what RAND() begins with; null where the statement does not ask for it. */
  chance: string | null;
  /** LAST_INSERT_ID() as it saw it; null where it does not ask for it, or nobody has read it. */
  insertId: bigint | null;
  /** What ROW_COUNT() and FOUND_ROWS() were before it. */
  rowCount: bigint;
  foundRows: number;
}

export interface RecordedStatement {
  readonly packet: Packet;
  readonly request: ServerRequest;
  /** COM_STMT_SEND_LONG_DATA that came before. */
  readonly longData: Buffer[] | null;
  /** Parameter types that its client had sent last. */
  readonly types: Buffer | null;
  readonly was: Circumstances;
  readonly mark: AnswerMark;
}

/** Why a transaction cannot be run again. The words stand in the error that tells of its loss. */
export type ReplayFault =
  | 'replay.maxStatements'
  | 'replay.maxBytes'
  /** A statement whose effects are not all the transaction's. */
  | 'a statement that cannot be repeated'
  | 'the memory that all transactions of this worker may take';

export interface RecordingLimits {
  maxStatements: number;
  maxBytes: number;
}

/** What all recordings of one worker take. */
export class RecordingBudget {
  bytes = 0;
  readonly maxBytes: number;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }
}

/** Beside the text. */
const OVERHEAD_BYTES = 200;

export class Recording {
  readonly statements: RecordedStatement[] = [];
  /** What the session had built up when it began. */
  readonly start: LinkState;
  readonly oneShot: string | null;
  /** It was begun with a BEGIN that stands in no statement. */
  readonly begun: boolean;
  fault: ReplayFault | null = null;
  #bytes = 0;
  #limits: RecordingLimits;
  #budget: RecordingBudget;

  constructor(
    begin: { start: LinkState; oneShot: string | null; begun: boolean },
    limits: RecordingLimits,
    budget: RecordingBudget,
  ) {
    this.start = begin.start;
    this.oneShot = begin.oneShot;
    this.begun = begin.begun;
    this.#limits = limits;
    this.#budget = budget;
  }

  add(packet: Packet, request: ServerRequest, longData: Buffer[] | null, was: Circumstances, mark: AnswerMark): void {
    if (this.fault !== null) return;
    const { maxStatements, maxBytes } = this.#limits;
    let bytes = packet.raw.length + OVERHEAD_BYTES;
    for (const chunk of longData ?? []) bytes += chunk.length;
    const opens = this.statements.length === 0 && request.sql.kind === 'begin';
    if (!opens && !repeatable(request.sql)) return this.spoil('a statement that cannot be repeated');
    if (this.statements.length >= maxStatements) return this.spoil('replay.maxStatements');
    if (this.#bytes + bytes > maxBytes) return this.spoil('replay.maxBytes');
    if (this.#budget.bytes + bytes > this.#budget.maxBytes) {
      return this.spoil('the memory that all transactions of this worker may take');
    }
    this.#bytes += bytes;
    this.#budget.bytes += bytes;
    const types = request.statement?.types ?? null;
    this.statements.push({ packet: detached(packet), request, longData, types, was, mark });
  }

  /** One of its statements has told of an id that was given to a row. */
  get gaveIds(): boolean {
    return this.statements.some(({ mark }) => mark.insertId !== 0n);
  }

  /** It cannot be run again any more; what was kept of it goes. */
  spoil(fault: ReplayFault): void {
    this.fault ??= fault;
    this.forget();
  }

  /** It is over. */
  forget(): void {
    this.#budget.bytes -= this.#bytes;
    this.#bytes = 0;
    this.statements.length = 0;
  }
}

/** The bytes of its own: those that it came in are another's soon, or many times as long. */
function detached(packet: Packet): Packet {
  const raw = Buffer.from(packet.raw);
  const payload = packet.payload.length + 4 === raw.length ? raw.subarray(4) : Buffer.from(packet.payload);
  return { ...packet, raw, payload };
}

/** All that it does is undone by a rollback, or is a part of the session that is carried. */
export function repeatable(sql: Classification): boolean {
  const { flags } = sql;
  if (flags.namedLock || flags.temporaryTable || flags.handler || flags.implicitCommit || flags.globalScope)
    return false;
  if (flags.touchesSessionTracking || flags.setsUnreported || flags.asksConnection) return false;
  switch (sql.kind) {
    case 'read':
    case 'locking-read':
    case 'savepoint':
    case 'set':
    case 'use':
    case 'empty':
    case 'write':
      return true;
    case 'begin':
    case 'commit':
    case 'rollback':
    case 'call':
    case 'prepare':
    case 'kill':
    case 'lock':
    case 'unlock':
    case 'xa':
    case 'admin':
    case 'multi':
    case 'unknown':
      return false;
  }
}

/** Sets what RAND() begins with to something that nobody can know. */
export function chanceFor(text: Buffer | null, below: (max: number) => number): string | null {
  if (text === null || !mayCallRand(text)) return null;
  return `SET rand_seed1=${below(MAX_SEED)}, rand_seed2=${below(MAX_SEED)}`;
}

const OPEN = 0x28;
const BLANK = 0x20;
const [R, A, N, D] = [0x72, 0x61, 0x6e, 0x64];

/** Looked for in every text of a transaction, so it is not read as text. In a comment or a string it does no harm. */
function mayCallRand(text: Buffer): boolean {
  for (let open = 4; open < text.length; open++) {
    if (text[open] !== OPEN) continue;
    let at = open - 1;
    while (at > 3 && (text[at] as number) <= BLANK) at--;
    const lower = (back: number): number => (text[at - back] as number) | 0x20;
    if (at >= 3 && lower(0) === D && lower(1) === N && lower(2) === A && lower(3) === R) return true;
  }
  return false;
}

/** Servers take seeds modulo this. */
const MAX_SEED = 0x3fffffff;

export function sameAnswer(a: AnswerMark, b: AnswerMark): boolean {
  return a.digest === b.digest && a.affectedRows === b.affectedRows && a.insertId === b.insertId && a.errno === b.errno;
}
