// What it costs a worker to record a transaction for its replay, a statement: the recording core alone, without a server.
// The scanner reads the same answers with a digest and without, so that what is told is what recording adds. Processor
// time, not time: how much else the machine has to do does not matter much.
import { readRequest, type ServerRequest } from '../src/gateway/command.ts';
import { Recording, RecordingBudget } from '../src/gateway/in-flight/recording.ts';
import { AT_LOGIN } from '../src/gateway/link-state.ts';
import { SessionState } from '../src/gateway/session.ts';
import {
  asPacket,
  Capability,
  Command,
  commandPacket,
  frame,
  ResponseScanner,
  type ScannerSink,
} from '../src/wire/index.ts';
import type { Figure } from './support/figures.ts';
import { judgeAll } from './support/matrix.ts';
import { type CommonOptions, eachFlavor, type Result } from './support/report.ts';

const STATEMENTS = 20;
const TRANSACTIONS = 10_000;
const ANSWERS = 50_000;
const BEGIN = { start: AT_LOGIN, oneShot: null, begun: true };
const LIMITS = { maxStatements: 1000, maxBytes: 1 << 20 };
const CAPABILITIES = Capability.DEPRECATE_EOF | Capability.SESSION_TRACK | Capability.TRANSACTIONS;

/** As sysbench's oltp_read_write says them. */
const TEXTS = [
  'SELECT c FROM sbtest1 WHERE id=5012',
  'SELECT SUM(k) FROM sbtest1 WHERE id BETWEEN 5012 AND 5111',
  'UPDATE sbtest1 SET k=k+1 WHERE id=5012',
  `INSERT INTO sbtest1 (id, k, c, pad) VALUES (5012, 4983, '${'x'.repeat(119)}', '${'y'.repeat(59)}')`,
];

export async function benchRecording({ flavors, rounds }: CommonOptions): Promise<Result> {
  const results = await eachFlavor(flavors.slice(0, 1), async (flavor) => {
    const kept = STATEMENTS * TRANSACTIONS;
    const samples = { keeping: [] as number[], row: [] as number[], rows: [] as number[] };
    for (let round = 0; round <= rounds; round++) {
      const keeping = cpuUs(record) / kept;
      const row = digestUs(1);
      const rows = digestUs(100);
      if (round === 0) continue; // compiled now
      samples.keeping.push(keeping);
      samples.row.push(row);
      samples.rows.push(rows);
    }
    const both = samples.keeping.map((each, at) => each + (samples.row[at] ?? 0));
    const figures: Figure[] = [
      { name: 'a statement kept', unit: 'µs', samples: samples.keeping },
      { name: 'the digest of an answer of one row', unit: 'µs', samples: samples.row },
      { name: 'the digest of an answer of 100 rows, 12 KiB', unit: 'µs', samples: samples.rows },
      { name: 'both, of a statement with one row', unit: 'µs', samples: both, aims: [{ of: 'p50', atMost: 3 }] },
    ];
    return { flavor, version: '(no server)', failedRounds: [], rounds: [samples], figures: judgeAll(figures, []) };
  });
  return {
    benchmark: 'recording',
    title: 'Recording a transaction for its replay',
    settings: { rounds, statements: STATEMENTS * TRANSACTIONS, answers: ANSWERS },
    results,
  };
}

function cpuUs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

function record(): void {
  const session = new SessionState(45);
  const packets = TEXTS.map((text) => asPacket(commandPacket(Command.QUERY, text)));
  const requests = packets.map((packet) => readRequest(packet, session, 'mysql', 0) as ServerRequest);
  const budget = new RecordingBudget(1 << 26);
  for (let n = 0; n < TRANSACTIONS; n++) {
    const recording = new Recording(BEGIN, LIMITS, budget);
    for (let at = 0; at < STATEMENTS; at++) {
      const which = at % TEXTS.length;
      const mark = { digest: 0, affectedRows: 0n, insertId: 0n, errno: 0 };
      recording.add(
        packets[which] as never,
        requests[which] as ServerRequest,
        null,
        { sentAtMs: Date.now(), chance: null, insertId: null, rowCount: 0n, foundRows: 0 },
        mark,
      );
    }
    recording.forget();
  }
}

/** What the digest adds to the reading of one answer. */
function digestUs(rows: number): number {
  const answer = answerOf(rows);
  const scanner = new ResponseScanner();
  const read = (digests: boolean) => (): void => {
    const sink: ScannerSink = {
      digests,
      forward: () => {},
      ok: () => {},
      error: () => true,
      localInfile: () => {},
      prepared: (id) => id,
    };
    for (let n = 0; n < ANSWERS; n++) {
      scanner.begin('result', CAPABILITIES, 2, sink);
      scanner.feed(answer);
    }
  };
  const plain = cpuUs(read(false));
  return (cpuUs(read(true)) - plain) / ANSWERS;
}

/** One column of 119 letters. */
function answerOf(rows: number): Buffer {
  const text = (value: string | Buffer): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  const names = ['def', 'sbtest', 'sbtest1', 'sbtest1', 'c', 'c'].map(text);
  const column = Buffer.concat([...names, Buffer.from([0x0c, 45, 0, 0xe0, 1, 0, 0, 0xfe, 0, 0, 0, 0, 0])]);
  const row = text('x'.repeat(119));
  const end = Buffer.from([0xfe, 0, 0, 2, 0, 0, 0]);
  const payloads = [Buffer.from([1]), column, ...Array.from({ length: rows }, () => row), end];
  return Buffer.concat(payloads.map((payload, at) => frame(payload, (at + 1) & 0xff)));
}
