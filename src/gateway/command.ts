// What a client's command is: its answer's shape, its kind, and what may be done with it when a server is lost.
// Text is classified by src/sql; the protocol's own commands are classified here.

import type { Flavor } from '../messages/index.ts';
import { type Classification, classify } from '../sql/index.ts';
import { type AnswerShape, Command, type Packet, queryTextOffset } from '../wire/index.ts';
import type { PreparedStatement, SessionState } from './session.ts';

/** Commands that Evenkeel passes or answers. Everything else is refused by name. */
export type Request =
  | { kind: 'quit' }
  | { kind: 'ping' }
  | { kind: 'reset' }
  | { kind: 'change-user' }
  | { kind: 'kill'; connectionId: number; queryOnly: boolean }
  | { kind: 'long-data'; statementId: number }
  | { kind: 'close-statement'; statementId: number }
  | { kind: 'unknown-statement'; statementId: number }
  | { kind: 'refused'; name: string }
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
      return statementRequest(command, payload, session, flavor);
    case Command.STMT_BULK_EXECUTE:
      if (flavor !== 'mariadb') return { kind: 'refused', name: 'COM_STMT_BULK_EXECUTE' };
      return statementRequest(command, payload, session, flavor);
    case Command.STMT_PREPARE: {
      const text = payload.subarray(1);
      return { kind: 'server', command, shape: 'prepare', sql: READ, text, statement: null };
    }
    case Command.STMT_SEND_LONG_DATA:
      return { kind: 'long-data', statementId: statementId(payload) };
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

function server(command: number, shape: AnswerShape, sql: Classification): ServerRequest {
  return { kind: 'server', command, shape, sql, text: null, statement: null };
}

/** A command that is passed as it is; nothing is assumed of its effect. */
export function passedRequest(command: number): ServerRequest {
  const sql = command === Command.INIT_DB ? USE : plain('kill', false);
  return server(command, 'result', sql);
}

function classifyFor(text: Buffer, session: SessionState, flavor: Flavor): Classification {
  const mode = session.variables.get('sql_mode') ?? '';
  const charset = session.variables.get('character_set_client') ?? '';
  return classify(text, {
    flavor,
    sqlMode: { ansiQuotes: mode.includes('ANSI_QUOTES'), noBackslashEscapes: mode.includes('NO_BACKSLASH_ESCAPES') },
    multiByteUnsafe: /^(gbk|sjis|cp932|big5|gb18030)$/.test(charset),
  });
}

function textRequest(command: number, text: Buffer, session: SessionState, flavor: Flavor): Request {
  const sql = classifyFor(text, session, flavor);
  if (sql.kill !== undefined) return { kind: 'kill', ...sql.kill };
  return { kind: 'server', command, shape: 'result', sql, text, statement: null };
}

function statementId(payload: Buffer): number {
  return payload.length >= 5 ? payload.readUInt32LE(1) : 0;
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

function statementRequest(command: number, payload: Buffer, session: SessionState, flavor: Flavor): Request {
  const id = statementId(payload);
  const statement = findStatement(session, id);
  if (statement === undefined) return { kind: 'unknown-statement', statementId: id };
  const shape = command === Command.STMT_FETCH ? 'rows' : 'result';
  const sql = executes(command) ? classifyFor(statement.sql, session, flavor) : READ;
  return { kind: 'server', command, shape, sql, text: statement.sql, statement };
}
