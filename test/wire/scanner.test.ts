// The response scanner against answers that are built from a model (answers.ts): whatever way the server's bytes are
// cut, a client gets exactly the bytes that a server would have sent it by itself, with the client's own capabilities.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ScannerSink } from '../../src/wire/answer.ts';
import { Capability } from '../../src/wire/capabilities.ts';
import { ResponseScanner, ScanError } from '../../src/wire/scanner.ts';
import fc, { seed } from '../seed.ts';
import {
  type AnswerModel,
  answerModel,
  byDefaultVariable,
  CURSOR_EXISTS,
  type Dialect,
  type ErrModel,
  encodeAnswer,
  lenencText,
  MAX_FRAGMENT,
  type OkModel,
  opensCursor,
  PREPARE_WARNINGS,
  type Segments,
} from './answers.ts';

const STATUS = 0x2;
const SHOWN_ID = 0x01020304;
const NEXT = Buffer.from([1, 0, 0, 1, 0xee, 0xff]);
const TRACKING: Dialect = { deprecateEof: true, sessionTrack: true };
const LEGACY: Dialect = { deprecateEof: false, sessionTrack: false };
const DIALECTS: Dialect[] = [
  TRACKING,
  LEGACY,
  { deprecateEof: true, sessionTrack: false },
  { deprecateEof: false, sessionTrack: true },
];

function capabilities({ deprecateEof, sessionTrack }: Dialect): number {
  const eof = deprecateEof ? Capability.DEPRECATE_EOF : 0;
  return (Capability.PROTOCOL_41 | eof | (sessionTrack ? Capability.SESSION_TRACK : 0)) >>> 0;
}

interface Scanned {
  /** What the client got, up to each point where its file was awaited. */
  segments: string[];
  events: string[];
  /** Handed back behind the end. */
  rest: string;
  done: boolean;
}

/** How a segment is cut into chunks. */
type Cut = (bytes: Buffer) => Buffer[];
const whole: Cut = (bytes) => [bytes];
const bytewise: Cut = (bytes) => Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));

function sinkOf(events: string[], pieces: Buffer[], showErrors: boolean, cursor = false): ScannerSink {
  return {
    opensCursor: cursor,
    // A copy: the scanner may go on writing into the chunk, the socket would have it by then.
    forward: (piece) => void pieces.push(Buffer.from(piece)),
    ok: (ok, changes) =>
      void events.push(`ok ${ok.affectedRows} ${ok.insertId} ${ok.warnings} ${ok.info.toString()} ${changes.length}`),
    error: (err, first) => {
      events.push(`err ${err.errno} ${err.message} ${first}`);
      return showErrors;
    },
    localInfile: () => void events.push('infile'),
    prepared: (id, parameters, columns, warnings) => {
      events.push(`prepared ${id} ${parameters} ${columns} ${warnings}`);
      return SHOWN_ID;
    },
  };
}

type Shape = AnswerModel['shape'];

/** `of`: the answer, or its shape where no cursor is asked for. */
function scan(server: Segments, of: AnswerModel | Shape, dialect: Dialect, cut: Cut, showErrors = true): Scanned {
  const [shape, cursor] = typeof of === 'string' ? [of, false] : [of.shape, opensCursor(of)];
  const scanner = new ResponseScanner();
  const events: string[] = [];
  const segments: string[] = [];
  let pieces: Buffer[] = [];
  const rest: Buffer[] = [];
  scanner.begin(shape, capabilities(dialect), STATUS, sinkOf(events, pieces, showErrors, cursor));
  server.forEach((segment, index) => {
    if (index > 0) scanner.infileSent();
    for (const chunk of cut(Buffer.from(segment))) {
      if (scanner.done) rest.push(chunk);
      else {
        const left = scanner.feed(chunk);
        if (left !== null) rest.push(Buffer.from(left));
      }
    }
    segments.push(Buffer.concat(pieces).toString('hex'));
    pieces.length = 0;
  });
  return { segments, events, rest: Buffer.concat(rest).toString('hex'), done: scanner.done };
}

/** The server's bytes with the beginning of its next answer behind them. */
function withNext(server: Segments): Segments {
  return server.map((segment, index) => (index === server.length - 1 ? Buffer.concat([segment, NEXT]) : segment));
}

function expected(answer: AnswerModel, dialect: Dialect): Scanned {
  const segments = encodeAnswer(answer, dialect, STATUS, SHOWN_ID).map((segment) => segment.toString('hex'));
  return { segments, events: eventsOf(answer), rest: NEXT.toString('hex'), done: true };
}

/** What the sink is told, in order. */
function eventsOf(answer: AnswerModel): string[] {
  const events: string[] = [];
  const tell = (end: OkModel | ErrModel, first: boolean): void => {
    if ('errno' in end) events.push(`err ${end.errno} ${end.message} ${first}`);
    else {
      const changes = end.changes.filter((each) => each.type !== 77).length;
      events.push(`ok ${end.affectedRows} ${end.insertId} ${end.warnings} ${end.info} ${changes}`);
    }
  };
  switch (answer.shape) {
    case 'text':
      return [];
    case 'rows':
    case 'columns':
      tell(answer.end, false);
      return events;
    case 'prepare':
      if ('err' in answer) tell(answer.err, true);
      else
        events.push(`prepared ${answer.id} ${answer.parameters.length} ${answer.columns.length} ${PREPARE_WARNINGS}`);
      return events;
    case 'result':
      answer.results.forEach((result, index) => {
        if (result.kind === 'ok') tell(result.ok, false);
        else if (result.kind === 'err') tell(result.err, index === 0);
        else if (result.kind === 'infile') {
          events.push('infile');
          tell(result.verdict, false);
        } else tell(result.end, false);
      });
      return events;
  }
}

function check(answer: AnswerModel, dialect: Dialect, cut: Cut): void {
  const server = withNext(encodeAnswer(answer, null, STATUS));
  assert.deepEqual(scan(server, answer, dialect, cut), expected(answer, dialect));
}

function ok(fields: Partial<OkModel> = {}): OkModel {
  return { affectedRows: 0n, insertId: 0n, status: STATUS, warnings: 0, info: '', changes: [], ...fields };
}

const column = Buffer.concat([lenencText('def'), lenencText('t'), lenencText('c'), Buffer.alloc(13)]);
const rowOf = (text: string): Buffer => lenencText(text);
const fault: ErrModel = { errno: 1242, message: 'Subquery returns more than 1 row' };
const tracked = ok({
  info: 'Records: 1',
  changes: [byDefaultVariable('autocommit', 'OFF'), { ...byDefaultVariable('sql_mode', ''), byDefault: false }],
});

const SAMPLES: Record<string, AnswerModel> = {
  'a plain OK': { shape: 'result', results: [{ kind: 'ok', ok: ok({ affectedRows: 70_000n, insertId: 1n << 40n }) }] },
  'an OK with information': { shape: 'result', results: [{ kind: 'ok', ok: ok({ info: 'Rows matched: 1' }) }] },
  'an OK with session state': { shape: 'result', results: [{ kind: 'ok', ok: tracked }] },
  'an error': { shape: 'result', results: [{ kind: 'err', err: fault }] },
  rows: {
    shape: 'result',
    results: [{ kind: 'rows', columns: [column, column], rows: [rowOf('a'), rowOf('')], end: tracked }],
  },
  'no rows': { shape: 'result', results: [{ kind: 'rows', columns: [column], rows: [], end: ok({ status: 0x3 }) }] },
  'rows that begin with NULL': {
    shape: 'result',
    results: [{ kind: 'rows', columns: [column], rows: [Buffer.from([0xfb]), Buffer.from([0xfb, 1, 65])], end: ok() }],
  },
  'an error in place of rows': {
    shape: 'result',
    results: [{ kind: 'rows', columns: [column], rows: [], end: fault }],
  },
  'an error behind rows': {
    shape: 'result',
    results: [{ kind: 'rows', columns: [column], rows: [rowOf('a')], end: fault }],
  },
  'an open cursor': { shape: 'result', results: [{ kind: 'cursor', columns: [column], end: ok({ warnings: 2 }) }] },
  'no rows, and a cursor of a routine': {
    shape: 'result',
    results: [
      { kind: 'rows', columns: [column], rows: [], end: ok({ status: STATUS | CURSOR_EXISTS }) },
      { kind: 'rows', columns: [column], rows: [], end: ok({ status: STATUS | CURSOR_EXISTS }) },
      { kind: 'ok', ok: ok() },
    ],
  },
  'several results': {
    shape: 'result',
    results: [
      { kind: 'rows', columns: [column], rows: [rowOf('1')], end: ok() },
      { kind: 'rows', columns: [column], rows: [], end: tracked },
      { kind: 'ok', ok: ok({ affectedRows: 3n }) },
      { kind: 'rows', columns: [column], rows: [rowOf('2')], end: ok() },
      { kind: 'err', err: fault },
    ],
  },
  'a file that is taken': {
    shape: 'result',
    results: [{ kind: 'infile', name: '/tmp/x', files: 3, verdict: ok({ info: 'Records: 2' }) }],
  },
  'a file that is refused, behind rows': {
    shape: 'result',
    results: [
      { kind: 'rows', columns: [column], rows: [rowOf('1')], end: ok() },
      { kind: 'infile', name: 'x', files: 1, verdict: fault },
    ],
  },
  'a prepared statement without parameters and columns': { shape: 'prepare', id: 7, parameters: [], columns: [] },
  'a prepared statement with parameters': { shape: 'prepare', id: 7, parameters: [column], columns: [] },
  'a prepared statement with columns': { shape: 'prepare', id: 7, parameters: [], columns: [column, column] },
  'a prepared statement with both': { shape: 'prepare', id: 7, parameters: [column, column], columns: [column] },
  'a statement that cannot be prepared': { shape: 'prepare', err: fault },
  'fetched rows': { shape: 'rows', rows: [Buffer.from([0, 0, 1])], end: ok({ status: STATUS | CURSOR_EXISTS }) },
  'no more rows to fetch': { shape: 'rows', rows: [], end: ok({ status: STATUS | 0x80 }) },
  'a field list': { shape: 'columns', columns: [column, column], end: ok() },
  'an empty field list': { shape: 'columns', columns: [], end: ok() },
  'a field list of an unknown table': { shape: 'columns', columns: [], end: fault },
  statistics: { shape: 'text', text: 'Uptime: 1  Threads: 2' },
};

describe('what a client gets is what a server sends to such a client', () => {
  for (const [name, answer] of Object.entries(SAMPLES)) {
    test(`${name}: whole, one byte at a time, and cut at every place`, () => {
      for (const dialect of DIALECTS) {
        check(answer, dialect, whole);
        check(answer, dialect, bytewise);
        const longest = Math.max(...withNext(encodeAnswer(answer, null, STATUS)).map((segment) => segment.length));
        for (let at = 1; at < longest; at++)
          check(answer, dialect, (bytes) => [bytes.subarray(0, at), bytes.subarray(at)]);
      }
    });
  }

  test('any answer, any dialect, any cut', () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(answerModel, fc.constantFrom(...DIALECTS), cuts, (answer, dialect, sizes) => {
        check(answer, dialect, (bytes) => {
          const chunks: Buffer[] = [];
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const size = sizes[i % sizes.length] as number;
            chunks.push(bytes.subarray(at, at + size));
            at += size;
          }
          return chunks;
        });
      }),
      { seed, numRuns: 1500 },
    );
  });

  test('a client with the capabilities of the server connection gets an untracked answer byte for byte', () => {
    const answer = SAMPLES['several results'] as AnswerModel;
    const plain: AnswerModel = { shape: 'result', results: 'results' in answer ? answer.results.slice(2) : [] };
    const server = encodeAnswer(plain, null, STATUS);
    assert.deepEqual(
      scan(server, 'result', TRACKING, whole).segments,
      server.map((segment) => segment.toString('hex')),
    );
  });

  test('sequence numbers wrap around at 255, also where the inserted packet is the one that wraps', () => {
    for (const columns of [252, 253, 254, 255, 300]) {
      const answer: AnswerModel = {
        shape: 'result',
        results: [
          { kind: 'rows', columns: Array<Buffer>(columns).fill(column), rows: [rowOf('a'), rowOf('b')], end: ok() },
          { kind: 'ok', ok: ok() },
        ],
      };
      for (const dialect of DIALECTS) {
        check(answer, dialect, whole);
        check(answer, dialect, bytewise);
      }
    }
  });
});

test('rows of 16 MiB and more pass, whatever their continuations look like', () => {
  for (const extra of [-1, 0, 5]) {
    for (const head of [0xfe, 0xff]) {
      const big = Buffer.alloc(MAX_FRAGMENT + extra, head);
      big[0] = 0xfe; // the length-encoded integer of a value of 16 MiB and more
      if (extra < 0) big[0] = 0xfd; // shorter than that
      const rows = [big, rowOf('behind')];
      const answer: AnswerModel = { shape: 'result', results: [{ kind: 'rows', columns: [column], rows, end: ok() }] };
      const server = encodeAnswer(answer, null, STATUS)[0] as Buffer;
      for (const dialect of head === 0xfe ? [LEGACY] : [TRACKING]) {
        const wanted = encodeAnswer(answer, dialect, STATUS)[0] as Buffer;
        // Chunks as a socket gives them, and cuts around the second header.
        for (const cut of [65536, server.indexOf(column) + column.length + 4 + MAX_FRAGMENT + 2]) {
          const scanner = new ResponseScanner();
          const pieces: Buffer[] = [];
          scanner.begin('result', capabilities(dialect), STATUS, sinkOf([], pieces, true));
          const copy = Buffer.from(server);
          for (let at = 0; at < copy.length; at += cut) assert.equal(scanner.feed(copy.subarray(at, at + cut)), null);
          assert.ok(scanner.done);
          assert.ok(Buffer.concat(pieces).equals(wanted), `${extra} bytes more, ${head}`);
        }
      }
    }
  }
});

test('an error that is kept from the client ends the answer, and nothing of it is shown', () => {
  for (const name of ['an error', 'an error in place of rows', 'an error behind rows', 'several results'] as const) {
    const answer = SAMPLES[name] as AnswerModel;
    for (const dialect of DIALECTS) {
      for (const cut of [whole, bytewise]) {
        const { segments, done, rest } = scan(
          withNext(encodeAnswer(answer, null, STATUS)),
          'result',
          dialect,
          cut,
          false,
        );
        const all = expected(answer, dialect).segments[0] as string;
        const errorBytes = 4 + 9 + fault.message.length;
        assert.deepEqual(segments, [all.slice(0, all.length - 2 * errorBytes)], name);
        assert.ok(done);
        assert.equal(rest, NEXT.toString('hex'));
      }
    }
  }
});

test('the last sequence number is known at the end, so that an error of our own can follow a cut answer', () => {
  const scanner = new ResponseScanner();
  const server = encodeAnswer(SAMPLES['rows'] as AnswerModel, null, STATUS)[0] as Buffer;
  scanner.begin('result', capabilities(LEGACY), STATUS, sinkOf([], [], true));
  scanner.feed(Buffer.from(server.subarray(0, 5 + 2 * (4 + column.length) + 6))); // count, two columns, one row
  assert.equal(scanner.lastSequence, 5); // with the inserted EOF
  assert.equal(scanner.sequenceShift, 1);
});

test('the rows of the last result set are counted, continuations and definitions are not', () => {
  const rowsOf = (count: number): AnswerModel & { shape: 'result' } => ({
    shape: 'result',
    results: [{ kind: 'rows', columns: [column, column], rows: Array<Buffer>(count).fill(rowOf('a')), end: ok() }],
  });
  const [two, three] = [rowsOf(2).results, rowsOf(3).results];
  const big = [rowOf('x'), Buffer.alloc(MAX_FRAGMENT + 5, 0xfd)];
  const cases: [AnswerModel, number][] = [
    [rowsOf(0), 0],
    [rowsOf(300), 300],
    [{ shape: 'result', results: [...two, ...three] }, 3],
    [{ shape: 'result', results: [...three, { kind: 'ok', ok: ok() }] }, 3],
    [{ shape: 'result', results: [{ kind: 'rows', columns: [column], rows: big, end: ok() }] }, 2],
    [SAMPLES['an error behind rows'] as AnswerModel, 1],
    [SAMPLES['fetched rows'] as AnswerModel, 1],
    [SAMPLES['a field list'] as AnswerModel, 0],
    [SAMPLES['a plain OK'] as AnswerModel, 0],
  ];
  const scanner = new ResponseScanner();
  for (const [answer, count] of cases) {
    for (const dialect of DIALECTS) {
      scanner.begin(answer.shape, capabilities(dialect), STATUS, sinkOf([], [], true));
      for (const segment of encodeAnswer(answer, null, STATUS)) scanner.feed(Buffer.from(segment));
      assert.equal(scanner.rows, count);
    }
  }
});

test('a small answer in one chunk is handed on in one piece, for a client of any dialect', () => {
  for (const name of ['a plain OK', 'an OK with session state', 'rows', 'no rows', 'an open cursor'] as const) {
    for (const dialect of DIALECTS) {
      const pieces: Buffer[] = [];
      const scanner = new ResponseScanner();
      scanner.begin('result', capabilities(dialect), STATUS, sinkOf([], pieces, true));
      scanner.feed(Buffer.concat(encodeAnswer(SAMPLES[name] as AnswerModel, null, STATUS)));
      assert.equal(pieces.length, 1, name);
    }
  }
});

test('pieces that were handed on are never written to again', () => {
  const scanner = new ResponseScanner();
  const held: { piece: Buffer; copy: Buffer }[] = [];
  const sink = sinkOf([], [], true);
  sink.forward = (piece) => void held.push({ piece, copy: Buffer.from(piece) });
  for (let i = 0; i < 500; i++) {
    scanner.begin('result', capabilities(LEGACY), STATUS, sink);
    scanner.feed(Buffer.concat(encodeAnswer(SAMPLES['several results'] as AnswerModel, null, STATUS)));
  }
  for (const { piece, copy } of held) assert.ok(piece.equals(copy));
});

test("a client's file is numbered as the server counts", () => {
  const answer = SAMPLES['a file that is refused, behind rows'] as AnswerModel;
  for (const dialect of DIALECTS) {
    const scanner = new ResponseScanner();
    const [request] = encodeAnswer(answer, null, STATUS) as [Buffer];
    scanner.begin('result', capabilities(dialect), STATUS, sinkOf([], [], true));
    scanner.feed(Buffer.from(request));
    // Column count, definition, row, end, request: the server counted to 5.
    assert.deepEqual([scanner.nextFileNumber(), scanner.nextFileNumber(), scanner.nextFileNumber()], [6, 7, 8]);
  }
});

test('it is known whether a packet was handed on in part, behind which nothing of ours may be written', () => {
  const server = encodeAnswer(SAMPLES['rows'] as AnswerModel, null, STATUS)[0] as Buffer;
  const borders = new Set([0]);
  for (let at = 0; at < server.length; at += 4 + server.readUIntLE(at, 3)) borders.add(at);
  for (const dialect of DIALECTS) {
    for (let at = 0; at < server.length; at++) {
      const scanner = new ResponseScanner();
      let forwarded = 0;
      const sink = { ...sinkOf([], [], true), forward: (piece: Buffer): void => void (forwarded += piece.length) };
      scanner.begin('result', capabilities(dialect), STATUS, sink);
      scanner.feed(Buffer.from(server.subarray(0, at)));
      // An inserted EOF is 9 bytes long.
      const ownBytes = scanner.sequenceShift * 9;
      assert.equal(scanner.midPacket, !borders.has(forwarded - ownBytes), `${at}`);
    }
  }
});

test('one scanner takes one answer after the other', () => {
  fc.assert(
    fc.property(fc.array(answerModel, { minLength: 2, maxLength: 5 }), (answers) => {
      const scanner = new ResponseScanner();
      for (const answer of answers) {
        const pieces: Buffer[] = [];
        scanner.begin(answer.shape, capabilities(LEGACY), STATUS, sinkOf([], pieces, true, opensCursor(answer)));
        encodeAnswer(answer, null, STATUS).forEach((segment, index) => {
          if (index > 0) scanner.infileSent();
          assert.equal(scanner.feed(Buffer.from(segment)), null);
        });
        assert.ok(scanner.done);
        assert.deepEqual(Buffer.concat(pieces), Buffer.concat(encodeAnswer(answer, LEGACY, STATUS, SHOWN_ID)));
      }
    }),
    { seed, numRuns: 200 },
  );
});

describe('nonsense', () => {
  const shapes = fc.constantFrom<AnswerModel['shape']>('result', 'prepare', 'rows', 'columns', 'text');

  /** Feeds without regard to what the scanner says; only ScanError may come out. */
  function feedAll(chunks: Buffer[], shape: AnswerModel['shape'], dialect: Dialect): number {
    const scanner = new ResponseScanner();
    const pieces: Buffer[] = [];
    scanner.begin(shape, capabilities(dialect), STATUS, sinkOf([], pieces, true));
    try {
      for (const chunk of chunks) if (!scanner.done) scanner.feed(chunk);
    } catch (error) {
      assert.ok(error instanceof ScanError, String(error));
    }
    return pieces.reduce((sum, piece) => sum + piece.length, 0);
  }

  test('is a ScanError or passes, and never anything else', () => {
    const packet = fc
      .tuple(fc.constantFrom(0x00, 0xfe, 0xff, 0xfb, 0xfc, 1, 2), fc.uint8Array({ maxLength: 30 }), fc.nat(255))
      .map(([head, body, sequence]) => Buffer.concat([Buffer.from([body.length + 1, 0, 0, sequence, head]), body]));
    const chunk = fc.oneof(
      packet,
      fc.uint8Array({ minLength: 1, maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(
        fc.array(chunk, { maxLength: 12 }),
        shapes,
        fc.constantFrom(...DIALECTS),
        (chunks, shape, dialect) => {
          feedAll(chunks, shape, dialect);
        },
      ),
      { seed, numRuns: 4000 },
    );
  });

  test('a real answer with some bytes changed is a ScanError or passes', () => {
    const flips = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(answerModel, flips, fc.constantFrom(...DIALECTS), (answer, changes, dialect) => {
        const bytes = Buffer.concat(encodeAnswer(answer, null, STATUS));
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        feedAll([bytes], answer.shape, dialect);
      }),
      { seed, numRuns: 2000 },
    );
  });

  test('a packet that has to be looked at and is far too long is refused before it is buffered', () => {
    const header = Buffer.from([0, 0, 0x20, 1, 0xff]);
    const scanner = new ResponseScanner();
    scanner.begin('result', capabilities(TRACKING), STATUS, sinkOf([], [], true));
    assert.throws(() => scanner.feed(header), ScanError);
  });

  test('an error among column definitions ends the answer', () => {
    const server = Buffer.concat(encodeAnswer(SAMPLES['rows'] as AnswerModel, null, STATUS));
    const error = Buffer.concat(encodeAnswer(SAMPLES['an error'] as AnswerModel, null, STATUS));
    const events: string[] = [];
    const scanner = new ResponseScanner();
    scanner.begin('result', capabilities(TRACKING), STATUS, sinkOf(events, [], true));
    scanner.feed(Buffer.concat([server.subarray(0, 5 + 4 + column.length), error]));
    assert.ok(scanner.done);
    assert.deepEqual(events, [`err ${fault.errno} ${fault.message} false`]);
  });

  test('a server that speaks while the client sends its file is a ScanError', () => {
    const [request, verdict] = encodeAnswer(SAMPLES['a file that is taken'] as AnswerModel, null, STATUS);
    const scanner = new ResponseScanner();
    scanner.begin('result', capabilities(TRACKING), STATUS, sinkOf([], [], true));
    scanner.feed(request as Buffer);
    assert.throws(() => scanner.feed(verdict as Buffer), ScanError);
  });

  test("the sink's own exceptions are not taken for the server's nonsense", () => {
    const scanner = new ResponseScanner();
    const failing: ScannerSink = {
      ...sinkOf([], [], true),
      ok: () => {
        throw new TypeError('ours');
      },
    };
    scanner.begin('result', capabilities(TRACKING), STATUS, failing);
    const server = Buffer.concat(encodeAnswer(SAMPLES['a plain OK'] as AnswerModel, null, STATUS));
    assert.throws(() => scanner.feed(server), TypeError);
  });
});
