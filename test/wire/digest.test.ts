// What the scanner notes of an answer for whoever runs it again: a digest of what was shown, which is the same however the
// answer comes and whatever its flags say, and another one as soon as a row is. And the transaction that is not shown.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ScannerSink } from '../../src/wire/answer.ts';
import { Capability, ServerStatus } from '../../src/wire/capabilities.ts';
import { frame } from '../../src/wire/packet.ts';
import { encodeOk, parseOk } from '../../src/wire/response.ts';
import { ResponseScanner } from '../../src/wire/scanner.ts';
import fc, { seed } from '../seed.ts';

const TRACKING = Capability.DEPRECATE_EOF | Capability.SESSION_TRACK;
const NONE = Buffer.alloc(0);

function okOf(header: 0x00 | 0xfe, status: number, warnings: number): Buffer {
  const fields = { affectedRows: 0n, insertId: 0n, status, warnings, info: NONE, sessionState: NONE };
  return encodeOk(fields, TRACKING, header);
}

/** One column, some rows, and the end. */
function result(rows: readonly Buffer[], status = 2, warnings = 0): Buffer {
  const packets = [Buffer.from([1]), Buffer.from('a definition'), ...rows, okOf(0xfe, status, warnings)];
  return Buffer.concat(packets.map((payload, at) => frame(payload, at + 1)));
}

function scan(bytes: Buffer, cuts: readonly number[], more: Partial<ScannerSink>, capabilities: number) {
  const scanner = new ResponseScanner();
  const shown: Buffer[] = [];
  scanner.begin('result', capabilities, 2, {
    forward: (piece) => void shown.push(Buffer.from(piece)),
    ok: () => {},
    error: () => true,
    localInfile: () => {},
    prepared: (id) => id,
    ...more,
  });
  const copy = Buffer.from(bytes);
  let from = 0;
  for (const cut of [...new Set(cuts.map((each) => each % bytes.length))].sort((a, b) => a - b)) {
    if (cut > from) scanner.feed(copy.subarray(from, cut));
    from = Math.max(from, cut);
  }
  scanner.feed(copy.subarray(from));
  assert.ok(scanner.done);
  return { digest: scanner.digest, shown: Buffer.concat(shown) };
}

const row = fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from([bytes.length, ...bytes]));
const rows = fc.array(row, { maxLength: 6 });
const cuts = fc.array(fc.nat(400), { maxLength: 8 });

test('the digest of an answer is the same however it is cut, and whatever flags and warnings it ends with', () => {
  fc.assert(
    fc.property(rows, cuts, fc.nat(0xffff), fc.nat(3), fc.boolean(), (some, where, status, warnings, legacy) => {
      const capabilities = legacy ? 0 : TRACKING;
      const flags = status & ~(ServerStatus.MORE_RESULTS_EXISTS | ServerStatus.SESSION_STATE_CHANGED);
      const one = scan(result(some), [], { digests: true }, capabilities);
      const other = scan(
        result(some, flags & ~ServerStatus.CURSOR_EXISTS, warnings),
        where,
        { digests: true },
        capabilities,
      );
      assert.equal(other.digest, one.digest);
    }),
    { seed, numRuns: 500 },
  );
});

test('one byte of a row makes another digest', () => {
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 6 }), fc.nat(), (some, at) => {
      const one = scan(result(some), [], { digests: true }, TRACKING);
      const changed = some.map((each) => Buffer.from(each));
      const victim = changed[at % changed.length] as Buffer;
      const place = 1 + (at % (victim.length - 1));
      victim[place] = (victim[place] as number) ^ 1;
      assert.notEqual(scan(result(changed), [], { digests: true }, TRACKING).digest, one.digest);
    }),
    { seed, numRuns: 500 },
  );
});

test('nobody who does not want one pays for a digest', () => {
  assert.equal(scan(result([Buffer.from([1, 65])]), [], {}, TRACKING).digest, 0);
});

test('a transaction that the client did not begin is not shown to it', () => {
  const status = ServerStatus.IN_TRANS | ServerStatus.AUTOCOMMIT;
  const told: number[] = [];
  const hides: Partial<ScannerSink> = { hidesTransaction: true, ok: (ok) => void told.push(ok.status) };
  const { shown } = scan(frame(okOf(0x00, status, 0), 1), [], hides, TRACKING);
  assert.equal(parseOk(shown.subarray(4), TRACKING).status, ServerStatus.AUTOCOMMIT);
  assert.deepEqual(told, [ServerStatus.AUTOCOMMIT]);
  assert.deepEqual(
    scan(result([], status), [], hides, 0).shown.subarray(-2),
    Buffer.from([ServerStatus.AUTOCOMMIT, 0]),
  );
});
