// What a client's command is: its answer's shape, its kind, and what may be done with it when a server is lost.
// Text is classified by src/sql; the protocol's own commands are classified here.

import type { Flavor } from '../messages/index.ts';
import {
  type Classification,
  type ClassifyOptions,
  classify,
  lastDigest,
  lastFindsMore,
  rewriteConnectionId,
  scopeSystemVariables,
} from '../sql/index.ts';
import {
  type AnswerShape,
  asPacket,
  Command,
  executeLayout,
  frame,
  type Packet,
  queryTextOffset,
} from '../wire/index.ts';
import { slotOf } from './costs.ts';
import type { LogicalStatement } from './prepared.ts';
import { optionsFor } from './reading.ts';
import type { PreparedStatement, SessionState } from './session.ts';

/** In a KILL: CONNECTION_ID(). */
export const OWN_ID = -1;

/** Commands that Evenkeel passes or answers. Everything else is refused by name. */
export type Request =
  | { kind: 'quit' }
  | { kind: 'ping' }
  | { kind: 'reset' }
  | { kind: 'change-user' }
  | { kind: 'kill'; connectionId: number; queryOnly: boolean }
  /** There is no answer to this command, not even an error. */
  | { kind: 'long-data'; statement: PreparedStatement | undefined }
  | { kind: 'close-statement'; statementId: number }
  | { kind: 'unknown-statement'; statementId: number }
  | { kind: 'refused'; name: string }
  | { kind: 'malformed-execution' }
  | ServerRequest;

/** A command for the server. */
export interface ServerRequest {
  kind: 'server';
  command: number;
  shape: AnswerShape;
  sql: Classification;
  text: Buffer | null;
  /** For COM_STMT_EXECUTE, FETCH and RESET. */
  statement: PreparedStatement | null;
  /** How its text was read. */
  options: ClassifyOptions;
  /** All that it does to the session, or needs of it, is in the state that travels. */
  plain: boolean;
  /** It reads rows. */
  reads: boolean;
  /** COM_STMT_EXECUTE without a cursor and without data sent before it; other commands: false. */
  executesPlainly: boolean;
  /** Where its cost is kept (costs.ts); -1: nowhere. */
  costSlot: number;
  /** Of its text's shape (`lastDigest`); 0: none. */
  digest: number;
  /** FOUND_ROWS() may be another number than that of the rows that are sent. */
  findsMore: boolean;
}

/** Nothing that a second look would have to find out, and nothing that only the last connection could tell. */
function isPlain({ kind, flags }: Classification): boolean {
  if (flags.setsUserVariable || flags.asksPrevious || flags.unknownFunction || flags.calcFoundRows) return false;
  if (flags.temporaryTable || flags.namedLock || flags.setsLastInsertId || flags.setsOneShotTransaction) return false;
  if (flags.handler || flags.dropsTable || flags.renamesTable || flags.touchesSessionTracking) return false;
  switch (kind) {
    case 'read':
    case 'locking-read':
    case 'write':
    case 'begin':
    case 'commit':
    case 'rollback':
    case 'savepoint':
    case 'use':
      return true;
    default:
      return false;
  }
}

const NO_FLAGS: Classification['flags'] = classify('', { flavor: 'mysql' }).flags;

function plain(kind: Classification['kind'], rerunnable: boolean): Classification {
  return { kind, rerunnable, flags: NO_FLAGS, userVariables: [] };
}

const READ = plain('read', true);
const USE = plain('use', true);
const SET = plain('set', true);
const ADMIN = plain('admin', false);

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(Command).map(([name, byte]) => [byte, `COM_${name}`]),
);

/** Reads the command byte and what follows it. `capabilities`: the client's. Throws ProtocolError. */
export function readRequest(packet: Packet, session: SessionState, flavor: Flavor, capabilities: number): Request {
  const { payload } = packet;
  const command = payload[0];
  switch (command) {
    case Command.QUERY:
      return textRequest(command, payload.subarray(queryTextOffset(payload, capabilities)), session, flavor);
    case Command.STMT_EXECUTE:
    case Command.STMT_FETCH:
    case Command.STMT_RESET:
      return statementRequest(command, payload, session, capabilities);
    case Command.STMT_BULK_EXECUTE:
      if (flavor !== 'mariadb') return { kind: 'refused', name: 'COM_STMT_BULK_EXECUTE' };
      return statementRequest(command, payload, session, capabilities);
    case Command.STMT_PREPARE: {
      return prepareRequest(payload.subarray(1), session, flavor);
    }
    case Command.STMT_SEND_LONG_DATA:
      return { kind: 'long-data', statement: findStatement(session, statementId(payload)) };
    case Command.STMT_CLOSE:
      return { kind: 'close-statement', statementId: statementId(payload) };
    case Command.INIT_DB:
      return server(command, 'result', USE);
    case Command.FIELD_LIST:
      return server(command, 'columns', READ);
    case Command.STATISTICS:
      return server(command, 'text', READ);
    case Command.SET_OPTION:
      return server(command, 'result', SET);
    case Command.DEBUG:
      return server(command, 'result', ADMIN);
    case Command.PROCESS_KILL:
      if (payload.length < 5) return { kind: 'refused', name: 'a COM_PROCESS_KILL without an id' };
      return { kind: 'kill', connectionId: payload.readUInt32LE(1), queryOnly: false };
    case Command.QUIT:
      return { kind: 'quit' };
    case Command.PING:
      return { kind: 'ping' };
    case Command.RESET_CONNECTION:
      return { kind: 'reset' };
    case Command.CHANGE_USER:
      return { kind: 'change-user' };
    default:
      return {
        kind: 'refused',
        name: command === undefined ? 'an empty packet' : (NAMES.get(command) ?? `0x${command.toString(16)}`),
      };
  }
}

const NO_OPTIONS: ClassifyOptions = { flavor: 'mysql' };

function server(command: number, shape: AnswerShape, sql: Classification): ServerRequest {
  return {
    kind: 'server',
    command,
    shape,
    sql,
    text: null,
    statement: null,
    options: NO_OPTIONS,
    plain: true,
    reads: false,
    executesPlainly: false,
    costSlot: -1,
    digest: 0,
    findsMore: false,
  };
}

/** A command that is passed as it is; nothing is assumed of its effect. */
export function passedRequest(command: number): ServerRequest {
  const sql = command === Command.INIT_DB ? USE : plain('kill', false);
  return server(command, 'result', sql);
}

/** Preparing costs alike whatever is prepared; far from the slots of texts' digests only by luck, which is enough. */
const PREPARE_SLOT = 1;

function textRequest(command: number, text: Buffer, session: SessionState, flavor: Flavor): Request {
  const options = optionsFor(text, session, flavor);
  const sql = classify(text, options);
  const digest = lastDigest();
  const findsMore = lastFindsMore();
  if (sql.kill !== undefined) return { kind: 'kill', ...sql.kill };
  if (sql.kind === 'kill' && sql.flags.connectionId) {
    const rewritten = rewriteConnectionId(text, options, 0);
    const kill = rewritten === null ? undefined : classify(rewritten, options).kill;
    if (kill?.connectionId === 0) return { kind: 'kill', connectionId: OWN_ID, queryOnly: kill.queryOnly };
  }
  return {
    kind: 'server',
    command,
    shape: 'result',
    sql,
    text,
    statement: null,
    options,
    plain: isPlain(sql),
    reads: sql.kind === 'read' || sql.kind === 'locking-read',
    executesPlainly: false,
    costSlot: slotOf(digest),
    digest,
    findsMore,
  };
}

function prepareRequest(text: Buffer, session: SessionState, flavor: Flavor): Request {
  const options = optionsFor(text, session, flavor);
  const { connectionId, usesUserVariable } = classify(text, options).flags;
  const sql =
    connectionId || usesUserVariable ? { ...READ, flags: { ...NO_FLAGS, connectionId, usesUserVariable } } : READ;
  return { ...server(Command.STMT_PREPARE, 'prepare', sql), text, options, costSlot: PREPARE_SLOT };
}

/** The command with the id that the client was greeted with in the place of CONNECTION_ID(). */
export function withConnectionId(
  packet: Packet,
  request: ServerRequest,
  id: number,
): { packet: Packet; request: ServerRequest } {
  const { text, command, options } = request;
  // What IS_USED_LOCK() tells is the server's id, to which CONNECTION_ID() is compared.
  if (text === null || executes(command) || request.sql.flags.namedLock) return { packet, request };
  const rewritten = rewriteConnectionId(text, options, id);
  return rewritten === null ? { packet, request } : withText(packet, { ...request, text }, rewritten);
}

/** SET may name a variable in the way that MariaDB does not report. */
export function maySetUnseen({ command, sql, options, text }: ServerRequest): boolean {
  if (options.flavor !== 'mariadb' || text === null) return false;
  if (command !== Command.QUERY) return command === Command.STMT_PREPARE;
  return sql.kind === 'set' || sql.kind === 'multi' || sql.kind === 'admin';
}

/** The command as MariaDB reports what it sets; of an unknown effect where that cannot be. */
export function withSessionScope(packet: Packet, request: ServerRequest): { packet: Packet; request: ServerRequest } {
  const { text, options, sql } = request;
  const scoped = text === null ? null : scopeSystemVariables(text, options);
  if (text === null || scoped === null) return { packet, request };
  if (scoped === 'unsure') {
    if (request.command !== Command.QUERY) return { packet, request };
    return { packet, request: { ...request, plain: false, sql: { ...sql, kind: 'unknown', rerunnable: false } } };
  }
  return withText(packet, { ...request, text }, scoped);
}

function withText(
  packet: Packet,
  request: ServerRequest & { text: Buffer },
  rewritten: Buffer,
): { packet: Packet; request: ServerRequest } {
  const { text } = request;
  const { payload } = packet;
  const head = payload.subarray(0, payload.length - text.length); // the command, and attributes
  const raw = frame(Buffer.concat([head, rewritten]), 0);
  return { packet: asPacket(raw), request: { ...request, text: rewritten } };
}

function statementId(payload: Buffer): number {
  return payload.length >= 5 ? payload.readUInt32LE(1) : 0;
}

/** What is known of a prepared text, once for all of its executions. */
interface Known {
  sql: Classification;
  plain: boolean;
  reads: boolean;
  costSlot: number;
  digest: number;
  findsMore: boolean;
}

const knownStatements = new WeakMap<LogicalStatement, Known>();

/** A text means what it meant when it was prepared. */
function knownOf(logical: LogicalStatement): Known {
  const known = knownStatements.get(logical);
  if (known !== undefined) return known;
  const sql = classify(logical.sql, logical.options);
  const reads = sql.kind === 'read' || sql.kind === 'locking-read';
  const digest = lastDigest();
  // Executing what is prepared costs less than running its text.
  const fresh = { sql, plain: isPlain(sql), reads, costSlot: slotOf(~digest), digest, findsMore: lastFindsMore() };
  knownStatements.set(logical, fresh);
  return fresh;
}

/** The command executes a prepared statement. */
export function executes(command: number): boolean {
  return command === Command.STMT_EXECUTE || command === Command.STMT_BULK_EXECUTE;
}

/** Drivers of MariaDB send an execution ahead of the answer that would tell them the id. */
const LAST_PREPARED = 0xffffffff;

export function findStatement(session: SessionState, id: number): PreparedStatement | undefined {
  return id === LAST_PREPARED ? (session.lastPrepared ?? undefined) : session.statements.get(id);
}

/** Ahead of the answer that tells how many parameters there are, a server takes executions with all of their types only. */
function isWhole(command: number, payload: Buffer, capabilities: number, parameters: number): boolean {
  if (parameters === 0) return true;
  if (command === Command.STMT_BULK_EXECUTE) return ((payload[5] ?? 0) & 0x80) !== 0;
  const layout = executeLayout(payload, capabilities, parameters);
  return layout !== null && layout.typesEnd > layout.typesAt;
}

function statementRequest(command: number, payload: Buffer, session: SessionState, capabilities: number): Request {
  const id = statementId(payload);
  const statement = findStatement(session, id);
  if (statement === undefined) return { kind: 'unknown-statement', statementId: id };
  const { logical } = statement;
  if (id === LAST_PREPARED && executes(command) && !isWhole(command, payload, capabilities, logical.parameters)) {
    return { kind: 'malformed-execution' };
  }
  if (!executes(command)) {
    const shape = command === Command.STMT_FETCH ? 'rows' : 'result';
    return { ...server(command, shape, READ), text: logical.sql, statement };
  }
  const { sql, plain: isPlainText, reads, costSlot, digest, findsMore } = knownOf(logical);
  if (sql.kill !== undefined) return { kind: 'kill', ...sql.kill };
  const cursor = ((payload[5] ?? 0) & CURSOR_FLAGS) !== 0;
  return {
    kind: 'server',
    command,
    shape: 'result',
    sql,
    text: logical.sql,
    statement,
    options: logical.options,
    plain: isPlainText,
    reads,
    executesPlainly: command === Command.STMT_EXECUTE && !cursor && statement.longData === null,
    costSlot,
    digest,
    findsMore,
  };
}

/** CURSOR_TYPE_READ_ONLY, FOR_UPDATE and SCROLLABLE of COM_STMT_EXECUTE's flags. */
const CURSOR_FLAGS = 0x07;

/** Of COM_STMT_SEND_LONG_DATA, until its statement is executed. False: it has become too much. */
export function keepLongData({ raw }: Packet, statement: PreparedStatement | undefined, maxBytes: number): boolean {
  if (statement === undefined) return true;
  statement.longData ??= [];
  statement.longDataBytes += raw.length;
  if (statement.longDataBytes > maxBytes) return false;
  statement.longData.push(Buffer.from(raw));
  return true;
}
