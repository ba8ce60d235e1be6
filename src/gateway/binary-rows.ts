// A text result put as a prepared statement's: the same packets, but for the rows. For answers that are kept here and were
// asked for as text, where the client asks by a prepared statement.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html
import { frame, HEADER_BYTES } from '../wire/index.ts';

/** Column types of the protocol that are numbers of a fixed size, with the size in bytes. */
const INTEGERS: ReadonlyMap<number, number> = new Map([
  [1, 1], // TINY
  [2, 2], // SHORT
  [3, 4], // LONG
  [8, 8], // LONGLONG
]);
const NULL_VALUE = 0xfb;
const END = 0xfe;
/** The first bits of a row's NULL bitmap are not used. */
const BITMAP_OFFSET = 2;
/** Of a definition's end: type, flags, decimals, two bytes of filler. */
const TYPE_FROM_END = 6;

/**
 * A whole text result of one result set, as a client that deprecates EOF packets (`deprecatesEof`) or not gets it. Null where
 * a value's type is one that is written otherwise. Packets of 16 MiB are none of its business.
 */
export function asBinaryResult(answer: Buffer, deprecatesEof: boolean): Buffer | null {
  const packets: Buffer[] = [];
  for (let at = 0; at < answer.length; ) {
    const end = at + HEADER_BYTES + answer.readUIntLE(at, 3);
    packets.push(answer.subarray(at, end));
    at = end;
  }
  const columns = packets[0]?.[HEADER_BYTES] ?? 0;
  const types = packets
    .slice(1, 1 + columns)
    .map((definition) => definition[definition.length - TYPE_FROM_END] as number);
  const firstRow = 1 + columns + (deprecatesEof ? 0 : 1);
  const rows = packets.slice(firstRow, -1).map((row) => binaryRow(row, types));
  const last = packets.at(-1);
  if (last === undefined || last[HEADER_BYTES] !== END || rows.includes(null)) return null;
  return Buffer.concat([...packets.slice(0, firstRow), ...(rows as Buffer[]), last]);
}

function binaryRow(row: Buffer, types: readonly number[]): Buffer | null {
  const bitmap = Buffer.alloc((types.length + BITMAP_OFFSET + 7) >> 3);
  const values: Buffer[] = [];
  let at = HEADER_BYTES;
  for (const [column, type] of types.entries()) {
    if (row[at] === NULL_VALUE) {
      const bit = column + BITMAP_OFFSET;
      bitmap[bit >> 3] = (bitmap[bit >> 3] as number) | (1 << (bit & 7));
      at++;
      continue;
    }
    const { start, end } = textAt(row, at);
    const size = INTEGERS.get(type);
    if (size !== undefined) values.push(integer(row.toString('latin1', start, end), size));
    else if (isText(type)) values.push(row.subarray(at, end));
    else return null;
    at = end;
  }
  return frame(Buffer.concat([Buffer.from([0]), bitmap, ...values]), row[3] as number);
}

/** VARCHAR, the BLOBs, VAR_STRING and STRING are written as text is. */
function isText(type: number): boolean {
  return type === 15 || (type >= 249 && type <= 254);
}

function integer(digits: string, size: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(digits)));
  return bytes.subarray(0, size);
}

function textAt(row: Buffer, at: number): { start: number; end: number } {
  const head = row[at] as number;
  const wide = head === 0xfc ? 2 : head === 0xfd ? 3 : 0;
  const start = at + 1 + wide;
  return { start, end: start + (wide === 0 ? head : row.readUIntLE(at + 1, wide)) };
}
