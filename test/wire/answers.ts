// Server answers as data, and what goes over the wire for them: to Evenkeel (DEPRECATE_EOF and SESSION_TRACK), and to a
// client with any of the two. Written from the protocol's manual and from what MySQL 9.7 and MariaDB 10.11 were seen to
// send; it shares no code with src/wire, so that both would have to be wrong alike.
import fc from '../seed.ts';

export const MAX_FRAGMENT = 0xffffff;
export const MORE_RESULTS = 0x8;
export const CURSOR_EXISTS = 0x40;
/** Of each COM_STMT_PREPARE. */
export const PREPARE_WARNINGS = 259;
export const STATE_CHANGED = 0x4000;

export interface Dialect {
  deprecateEof: boolean;
  sessionTrack: boolean;
}

export type Change = { type: number; item: Buffer; byDefault: boolean };

export interface OkModel {
  affectedRows: bigint;
  insertId: bigint;
  /** Without MORE_RESULTS and STATE_CHANGED: they follow from the rest. */
  status: number;
  warnings: number;
  info: string;
  changes: Change[];
}

export interface ErrModel {
  errno: number;
  message: string;
}

export type ResultModel =
  | { kind: 'ok'; ok: OkModel }
  | { kind: 'err'; err: ErrModel }
  | { kind: 'rows'; columns: Buffer[]; rows: Buffer[]; end: OkModel | ErrModel }
  | { kind: 'cursor'; columns: Buffer[]; end: OkModel }
  | { kind: 'infile'; name: string; files: number; verdict: OkModel | ErrModel };

export type AnswerModel =
  | { shape: 'result'; results: ResultModel[] }
  | { shape: 'prepare'; id: number; parameters: Buffer[]; columns: Buffer[] }
  | { shape: 'prepare'; err: ErrModel }
  | { shape: 'rows'; rows: Buffer[]; end: OkModel | ErrModel }
  | { shape: 'columns'; columns: Buffer[]; end: OkModel | ErrModel }
  | { shape: 'text'; text: string };

/** What goes over the wire up to the point where the client's file is awaited, and after it, and so on. */
export type Segments = Buffer[];

export function lenenc(value: bigint | number): Buffer {
  const n = BigInt(value);
  const out = Buffer.alloc(9);
  out.writeBigUInt64LE(n, 1);
  if (n < 251n) return out.subarray(1, 2);
  const [head, bytes] = n < 1n << 16n ? [0xfc, 2] : n < 1n << 24n ? [0xfd, 3] : [0xfe, 8];
  out[0] = head;
  return out.subarray(0, 1 + bytes);
}

export function lenencText(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([lenenc(bytes.length), bytes]);
}

function u16(value: number): Buffer {
  return Buffer.from([value & 0xff, (value >> 8) & 0xff]);
}

export function errPayload(err: ErrModel): Buffer {
  return Buffer.concat([Buffer.from([0xff]), u16(err.errno), Buffer.from(`#42000${err.message}`)]);
}

function okPayload(header: number, ok: OkModel, more: boolean, dialect: Dialect | null): Buffer {
  // Null: the server's own words to Evenkeel, nothing filtered.
  const tracks = dialect === null || dialect.sessionTrack;
  const told = tracks ? ok.changes.filter((change) => dialect === null || change.byDefault) : [];
  const status = ok.status | (more ? MORE_RESULTS : 0) | (told.length > 0 ? STATE_CHANGED : 0);
  const pieces = [Buffer.from([header]), lenenc(ok.affectedRows), lenenc(ok.insertId), u16(status), u16(ok.warnings)];
  if (ok.info !== '' || told.length > 0) pieces.push(lenencText(ok.info));
  if (told.length > 0) {
    const items = told.map(({ type, item }) => Buffer.concat([Buffer.from([type]), lenencText(item)]));
    pieces.push(lenencText(Buffer.concat(items)));
  }
  return Buffer.concat(pieces);
}

function eofPayload(status: number, warnings: number): Buffer {
  return Buffer.concat([Buffer.from([0xfe]), u16(warnings), u16(status)]);
}

/** Numbers and frames packets. */
class Line {
  readonly segments: Buffer[][] = [[]];
  #sequence = 1;

  put(payload: Buffer): void {
    for (let at = 0; ; at += MAX_FRAGMENT) {
      const piece = payload.subarray(at, at + MAX_FRAGMENT);
      const header = Buffer.from([piece.length & 0xff, (piece.length >> 8) & 0xff, piece.length >> 16, this.#sequence]);
      this.#sequence = (this.#sequence + 1) % 256;
      this.segments.at(-1)?.push(header, piece);
      if (piece.length < MAX_FRAGMENT) return;
    }
  }

  /** The client sends `packets` packets of its own. */
  yield(packets: number): void {
    this.#sequence = (this.#sequence + packets) % 256;
    this.segments.push([]);
  }

  finish(): Segments {
    return this.segments.map((pieces) => Buffer.concat(pieces));
  }
}

const isErr = (end: OkModel | ErrModel): end is ErrModel => 'errno' in end;

/** `dialect` null: to Evenkeel. `status`: the session's, when the answer begins. `shownId`: the client's statement id. */
export function encodeAnswer(answer: AnswerModel, dialect: Dialect | null, status: number, shownId?: number): Segments {
  const line = new Line();
  const legacy = dialect !== null && !dialect.deprecateEof;
  let current = status;
  /** The end of rows, or of definitions. */
  const end = (ok: OkModel, more: boolean): void => {
    current = ok.status;
    if (legacy) line.put(eofPayload(ok.status | (more ? MORE_RESULTS : 0), ok.warnings));
    else line.put(okPayload(0xfe, ok, more, dialect));
  };
  const finish = (last: OkModel | ErrModel, more: boolean): void => {
    if (isErr(last)) line.put(errPayload(last));
    else end(last, more);
  };
  const definitions = (columns: Buffer[]): void => {
    for (const column of columns) line.put(column);
  };
  /** Behind column definitions; what comes later is not known there yet. */
  const between = (known: number): void => {
    if (legacy) line.put(eofPayload(known & ~(MORE_RESULTS | CURSOR_EXISTS), 0));
  };
  switch (answer.shape) {
    case 'text':
      line.put(Buffer.from(answer.text));
      break;
    case 'rows':
      definitions(answer.rows);
      finish(answer.end, false);
      break;
    case 'columns':
      definitions(answer.columns);
      finish(answer.end, false);
      break;
    case 'prepare': {
      if ('err' in answer) {
        line.put(errPayload(answer.err));
        break;
      }
      const { parameters, columns } = answer;
      const id = Buffer.alloc(4);
      id.writeUInt32LE(dialect === null ? answer.id : (shownId ?? answer.id));
      const counts = [u16(columns.length), u16(parameters.length)];
      line.put(Buffer.concat([Buffer.from([0]), id, ...counts, Buffer.from([0]), u16(PREPARE_WARNINGS)]));
      for (const group of [parameters, columns]) {
        definitions(group);
        if (group.length > 0) between(status);
      }
      break;
    }
    case 'result':
      answer.results.forEach((result, index) => {
        const more = index < answer.results.length - 1;
        switch (result.kind) {
          case 'ok':
            line.put(okPayload(0x00, result.ok, more, dialect));
            current = result.ok.status;
            return;
          case 'err':
            return line.put(errPayload(result.err));
          case 'infile':
            line.put(Buffer.from(`\u00fb${result.name}`, 'latin1'));
            line.yield(result.files);
            if (isErr(result.verdict)) return line.put(errPayload(result.verdict));
            line.put(okPayload(0x00, result.verdict, more, dialect));
            current = result.verdict.status;
            return;
          case 'cursor':
            line.put(lenenc(result.columns.length));
            definitions(result.columns);
            end({ ...result.end, status: result.end.status | CURSOR_EXISTS }, more);
            return;
          case 'rows': {
            line.put(lenenc(result.columns.length));
            definitions(result.columns);
            const noRows = result.rows.length === 0 && !isErr(result.end);
            between(noRows && !isErr(result.end) ? result.end.status : current);
            definitions(result.rows);
            finish(result.end, more);
          }
        }
      });
  }
  return line.finish();
}

// ---- generators -------------------------------------------------------------------------------------------------------

export const byDefaultVariable = (name: string, value: string): Change => ({
  type: 0,
  item: Buffer.concat([lenencText(name), lenencText(value)]),
  byDefault: true,
});

const change: fc.Arbitrary<Change> = fc.oneof(
  fc
    .tuple(fc.constantFrom('autocommit', 'time_zone', 'character_set_client'), fc.string())
    .map(([name, value]) => byDefaultVariable(name, value)),
  fc
    .tuple(fc.constantFrom('sql_mode', 'statement_id', 'x'), fc.string())
    .map(([name, value]) => ({ ...byDefaultVariable(name, value), byDefault: false })),
  fc.string().map((schema) => ({ type: 1, item: lenencText(schema), byDefault: true })),
  fc.constant({ type: 2, item: lenencText('1'), byDefault: false }),
  fc.constant({ type: 3, item: Buffer.concat([Buffer.from([0]), lenencText('uuid:1-9')]), byDefault: false }),
  fc.constant({ type: 4, item: lenencText('START TRANSACTION;'), byDefault: false }),
  fc.constant({ type: 5, item: lenencText('T_______'), byDefault: false }),
  fc.uint8Array({ maxLength: 9 }).map((item) => ({ type: 77, item: Buffer.from(item), byDefault: false })),
);

const count = fc.oneof(fc.constant(0n), fc.bigInt(0n, 300n), fc.bigInt(0n, (1n << 64n) - 1n));

export const okModel: fc.Arbitrary<OkModel> = fc.record({
  affectedRows: count,
  insertId: count,
  status: fc.constantFrom(0x2, 0x3, 0x22, 0x2002, 0x0, 0x42),
  warnings: fc.nat(65535),
  info: fc.oneof(
    fc.constant(''),
    fc.constant('Rows matched: 1  Changed: 1  Warnings: 0'),
    fc.string({ maxLength: 300 }),
  ),
  changes: fc.oneof({ weight: 2, arbitrary: fc.constant<Change[]>([]) }, fc.array(change, { maxLength: 4 })),
});

export const errModel: fc.Arbitrary<ErrModel> = fc.record({
  errno: fc.integer({ min: 1000, max: 9999 }),
  message: fc.string({ maxLength: 80 }),
});

const definition = fc
  .tuple(fc.string({ maxLength: 20 }), fc.string({ maxLength: 20 }))
  .map(([table, column]) =>
    Buffer.concat([lenencText('def'), lenencText(table), lenencText(column), Buffer.alloc(13, 12)]),
  );

/** Text rows, binary rows, rows that begin with NULL. */
const row = fc.oneof(
  fc
    .array(fc.string({ maxLength: 300 }), { minLength: 1, maxLength: 3 })
    .map((values) => Buffer.concat(values.map(lenencText))),
  fc.uint8Array({ maxLength: 40 }).map((values) => Buffer.concat([Buffer.from([0, 0]), values])),
  fc.string({ maxLength: 10 }).map((value) => Buffer.concat([Buffer.from([0xfb]), lenencText(value)])),
);

const definitions = fc.array(definition, { minLength: 1, maxLength: 4 });
const end: fc.Arbitrary<OkModel | ErrModel> = fc.oneof({ weight: 4, arbitrary: okModel }, errModel);

const oneResult: fc.Arbitrary<ResultModel> = fc.oneof(
  okModel.map((ok) => ({ kind: 'ok' as const, ok })),
  errModel.map((err) => ({ kind: 'err' as const, err })),
  fc.record({ kind: fc.constant('rows' as const), columns: definitions, rows: fc.array(row, { maxLength: 6 }), end }),
  fc.record({
    kind: fc.constant('infile' as const),
    name: fc.string(),
    files: fc.integer({ min: 1, max: 300 }),
    verdict: end,
  }),
);

export const failed = (result: ResultModel): boolean =>
  result.kind === 'err' ||
  (result.kind === 'rows' && isErr(result.end)) ||
  (result.kind === 'infile' && isErr(result.verdict));

/** Nothing comes behind an error. */
function upToError(results: ResultModel[]): ResultModel[] {
  const at = results.findIndex(failed);
  return at < 0 ? results : results.slice(0, at + 1);
}

/** Its client has asked for it. */
const cursor = fc
  .record({ kind: fc.constant('cursor' as const), columns: definitions, end: okModel })
  .map((result): AnswerModel => ({ shape: 'result', results: [result] }));

export function opensCursor(answer: AnswerModel): boolean {
  return answer.shape === 'result' && answer.results[0]?.kind === 'cursor';
}

export const answerModel: fc.Arbitrary<AnswerModel> = fc.oneof(
  cursor,
  {
    weight: 6,
    arbitrary: fc
      .array(oneResult, { minLength: 1, maxLength: 4 })
      .map((results) => ({ shape: 'result' as const, results: upToError(results) })),
  },
  fc.record({
    shape: fc.constant('prepare' as const),
    id: fc.nat(),
    parameters: fc.array(definition, { maxLength: 4 }),
    columns: fc.array(definition, { maxLength: 4 }),
  }),
  fc.record({ shape: fc.constant('prepare' as const), err: errModel }),
  fc.record({ shape: fc.constant('rows' as const), rows: fc.array(row, { maxLength: 6 }), end }),
  fc.record({ shape: fc.constant('columns' as const), columns: fc.array(definition, { maxLength: 4 }), end }),
  fc.string({ minLength: 1, maxLength: 300 }).map((text) => ({ shape: 'text' as const, text: `Uptime: ${text}` })),
);
