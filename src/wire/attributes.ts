// Query attributes (MySQL 8.0.23 and later): named values that a client sends along with a statement. With the
// capability, COM_QUERY and COM_STMT_EXECUTE are laid out otherwise, also where there are no attributes.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query.html
import { Capability, Command } from './capabilities.ts';
import { commandPacket } from './packet.ts';
import { PayloadReader, ProtocolError } from './payload.ts';

/** No attributes, one set of them. */
const NO_ATTRIBUTES = Buffer.from([0, 1]);
/** A server allows no more than that many placeholders, either. */
const MAX_PARAMETERS = 65535;
const MAX_NAME_BYTES = 64 * 1024;
/** Flag of COM_STMT_EXECUTE. */
const PARAMETER_COUNT_AVAILABLE = 0x08;
const EXECUTE_HEAD_BYTES = 10;

const speaks = (capabilities: number): boolean => (capabilities & Capability.QUERY_ATTRIBUTES) !== 0;

/** A COM_QUERY as a server connection with these capabilities reads it. */
export function queryPacket(sql: string | Buffer, capabilities: number): Buffer {
  if (!speaks(capabilities)) return commandPacket(Command.QUERY, sql);
  return commandPacket(Command.QUERY, Buffer.concat([NO_ATTRIBUTES, Buffer.from(sql)]));
}

/** Where the text begins in the payload of a COM_QUERY. Throws ProtocolError. */
export function queryTextOffset(payload: Buffer, capabilities: number): number {
  if (!speaks(capabilities)) return 1;
  if (payload[1] === 0 && payload[2] === 1) return 3;
  const reader = new PayloadReader(payload, 1);
  const count = parameterCount(reader);
  reader.lenencInt('the number of attribute sets');
  if (count > 0) readAttributes(reader, count, null);
  return payload.length - reader.remaining;
}

/** Those attributes of a COM_QUERY that are text, by name; null where it has none at all. Throws ProtocolError. */
export function queryAttributes(payload: Buffer, capabilities: number): ReadonlyMap<string, string> | null {
  if (!speaks(capabilities) || payload[0] !== Command.QUERY || payload[1] === 0) return null;
  const reader = new PayloadReader(payload, 1);
  const count = parameterCount(reader);
  reader.lenencInt('the number of attribute sets');
  const found = new Map<string, string>();
  if (count > 0) readAttributes(reader, count, (name, value) => found.set(name.toString(), value.toString()));
  return found;
}

/**
 * The same of a COM_STMT_EXECUTE, where they stand behind the parameters. `parameters`: how many the statement has; `elsewhere`:
 * those whose values came before, by COM_STMT_SEND_LONG_DATA. Null where it has none, and where it is not laid out as it should
 * be: the server will say so.
 */
export function executeAttributes(
  payload: Buffer,
  capabilities: number,
  parameters: number,
  elsewhere = NOWHERE,
): ReadonlyMap<string, string> | null {
  if (payload[0] !== Command.STMT_EXECUTE) return null;
  try {
    const { count, nullsAt } = valuesOf(payload, capabilities, parameters);
    if (count <= parameters) return null;
    const found = new Map<string, string>();
    const take: Take = (name, value, at) => {
      if (at >= parameters) found.set(name.toString(), value.toString());
    };
    readAttributes(new PayloadReader(payload, nullsAt), count, take, elsewhere);
    return found;
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}

type Take = (name: Buffer, value: Buffer, at: number) => void;

const NOWHERE: ReadonlySet<number> = new Set();

/** `take` gets those that are text. */
function readAttributes(reader: PayloadReader, count: number, take: Take | null, elsewhere = NOWHERE): void {
  const nulls = reader.bytes((count + 7) >> 3, 'the NULL bitmap');
  if (reader.u8('the bind flag') !== 1) throw new ProtocolError('malformed', 'attributes without their types');
  const types: number[] = [];
  const names: Buffer[] = [];
  for (let i = 0; i < count; i++) {
    types.push(reader.u16('an attribute type') & 0xff);
    names.push(reader.lenencBytes(MAX_NAME_BYTES, 'an attribute name'));
  }
  types.forEach((type, i) => {
    const isNull = ((nulls[i >> 3] as number) & (1 << (i & 7))) !== 0;
    const value = isNull || elsewhere.has(i) ? null : readValue(reader, type);
    if (value !== null) take?.(names[i] as Buffer, value, i);
  });
}

/** Fixed lengths of binary values, by type. https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html */
const FIXED_BYTES: ReadonlyMap<number, number> = new Map([
  [0x01, 1], // TINY
  [0x02, 2], // SHORT
  [0x03, 4], // LONG
  [0x04, 4], // FLOAT
  [0x05, 8], // DOUBLE
  [0x06, 0], // NULL
  [0x08, 8], // LONGLONG
  [0x09, 4], // INT24
  [0x0d, 2], // YEAR
]);
/** TIMESTAMP, DATE, TIME, DATETIME, and NEWDATE: a byte with the length of what follows. */
const TEMPORAL: ReadonlySet<number> = new Set([0x07, 0x0a, 0x0b, 0x0c, 0x0e]);

/** Null for numbers and times, which are skipped. */
function readValue(reader: PayloadReader, type: number): Buffer | null {
  const fixed = FIXED_BYTES.get(type);
  if (fixed === undefined && !TEMPORAL.has(type)) {
    return reader.lenencBytes(Number.MAX_SAFE_INTEGER, 'an attribute value');
  }
  reader.skip(fixed ?? reader.u8('an attribute value'), 'an attribute value');
  return null;
}

function parameterCount(reader: PayloadReader): number {
  const count = reader.lenencInt('the parameter count');
  if (count > MAX_PARAMETERS) throw new ProtocolError('too-large', `more than ${MAX_PARAMETERS} parameters`);
  return Number(count);
}

/** Where the parts of a COM_STMT_EXECUTE are in its payload. */
export interface ExecuteLayout {
  /** There are attributes behind the parameters. */
  hasAttributes: boolean;
  /** The flag that says whether types follow. */
  boundAt: number;
  typesAt: number;
  /** Of the parameters' types, without the attributes'. Equal to `typesAt` where no types were sent. */
  typesEnd: number;
}

/**
 * `parameters`: the statement's own. Null where it has neither parameters nor attributes, and where the packet is cut
 * off: the server will say so.
 */
export function executeLayout(payload: Buffer, capabilities: number, parameters: number): ExecuteLayout | null {
  try {
    return readLayout(payload, capabilities, parameters);
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}

function readLayout(payload: Buffer, capabilities: number, parameters: number): ExecuteLayout | null {
  const named = speaks(capabilities);
  const { count, nullsAt } = valuesOf(payload, capabilities, parameters);
  if (count === 0) return null;
  const hasAttributes = count > parameters;
  const boundAt = nullsAt + ((count + 7) >> 3);
  const typesAt = boundAt + 1;
  if (payload.length < typesAt) throw new ProtocolError('truncated', 'the packet ends before its parameters');
  if (payload[boundAt] !== 1) return { hasAttributes, boundAt, typesAt, typesEnd: typesAt };
  const reader = new PayloadReader(payload, typesAt);
  for (let i = 0; i < Math.min(count, parameters); i++) {
    reader.skip(2, 'a parameter type');
    if (named) reader.lenencBytes(MAX_NAME_BYTES, 'a parameter name');
  }
  return { hasAttributes, boundAt, typesAt, typesEnd: payload.length - reader.remaining };
}

/** How many values an execution has, attributes among them, and where their NULL bitmap begins. Throws ProtocolError. */
function valuesOf(payload: Buffer, capabilities: number, parameters: number): { count: number; nullsAt: number } {
  // With parameters the count is there in any case (seen on MySQL 9.7).
  const told = parameters > 0 || ((payload[5] ?? 0) & PARAMETER_COUNT_AVAILABLE) !== 0;
  if (!speaks(capabilities) || !told) return { count: parameters, nullsAt: EXECUTE_HEAD_BYTES };
  const reader = new PayloadReader(payload, EXECUTE_HEAD_BYTES);
  return { count: parameterCount(reader), nullsAt: payload.length - reader.remaining };
}
