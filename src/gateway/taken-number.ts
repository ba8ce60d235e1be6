// An INSERT whose AUTO_INCREMENT number a replayed transaction has brought along from the former primary. The replay gives the
// numbers that its client was shown (in-flight/replay.ts); the new primary's counter hears of them only when they are there,
// and may have given one to somebody else a moment before. Who comes second hears ER_DUP_ENTRY of a number that it never
// chose: the statement has done nothing, and is run again with the next one. A duplicate that is its client's own is one the
// second time, too.
import { insertsOneRow } from '../sql/index.ts';
import type { ErrPacket } from '../wire/index.ts';
import type { ServerRequest } from './command.ts';

/** ER_DUP_ENTRY */
const DUPLICATE = 1062;
/** From a change of the primary on: by then what was open on the former one has been run again. */
const REPLAYS_MS = 10_000;

export interface Since {
  /** When the primary changed last, and now; null: never. */
  primarySinceMs: number | null;
  nowMs: number;
}

/** Whether the error may be of a number that a replay brought along, and the statement has left nothing behind. */
export function numberMayBeTaken(err: ErrPacket, request: ServerRequest, { primarySinceMs, nowMs }: Since): boolean {
  if (err.errno !== DUPLICATE || primarySinceMs === null || nowMs - primarySinceMs > REPLAYS_MS) return false;
  const { sql, options, statement } = request;
  const text = statement?.logical.sql ?? request.text;
  if (text === null || sql.kind !== 'write' || sql.flags.setsUserVariable || sql.flags.unknownFunction) return false;
  const number = /^Duplicate entry '(\d+)' for key/.exec(err.message)?.[1];
  return number !== undefined && !text.includes(number) && insertsOneRow(text, options);
}
