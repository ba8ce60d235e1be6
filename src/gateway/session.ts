// What a client has built up in its session, and how to build it up again on another server connection.
//
// The server tells of changes (session tracking); the lexer adds what no server tells. What can be put into SQL
// travels; what cannot pins the session to its server connection, under a name, and is lost with it: then the next
// statement is told so.

import { Command, commandPacket, type OkPacket, ServerStatus, type SessionChange } from '../wire/index.ts';
import type { QuietCommand } from './quiet.ts';

/** What lives in the server connection only. The words are metric labels and stand in the error that tells of a loss. */
export type Pin =
  | 'temporary-table'
  | 'table-lock'
  | 'named-lock'
  | 'user-variable'
  | 'cursor'
  | 'xa'
  | 'sql-prepare'
  | 'last-insert-id'
  | 'unknown-effect';

/** A prepared statement as the client knows it; each server connection has its own id for it. */
export interface PreparedStatement {
  /** The id that the client was given. */
  id: number;
  /** COM_STMT_PREPARE as it came. */
  packet: Buffer;
  sql: Buffer;
  parameters: number;
  columns: number;
  /** Parameter types of the last execute that sent them; later ones may leave them out. */
  types: Buffer | null;
  /** The server connection that has had the types. */
  typesSentOn: object | null;
  /** COM_STMT_SEND_LONG_DATA packets for the next execute. */
  longData: Buffer[];
  longDataBytes: number;
}

/** Told by servers, but no part of what a session is. */
const NOT_STATE = new Set([
  'statement_id',
  'last_gtid',
  'gtid_next',
  'insert_id',
  'last_insert_id',
  'warning_count',
  'error_count',
  'in_transaction',
  'pseudo_thread_id',
  'autocommit', // restored by itself, last
  'transaction_read_only',
  'identity',
  'rand_seed1',
  'rand_seed2',
]);

/** The variables by which we make servers report; a client's own view of them is left alone. */
const TRACKING = /^session_track_/;

/** Sent first on every server connection; what it changes is not the client's doing. */
export const TRACKING_SETUP =
  "SET SESSION session_track_schema=ON, session_track_system_variables='*', session_track_state_change=ON, " +
  "session_track_transaction_info='STATE'";

export class SessionState {
  /** Null where the client never chose one. */
  schema: string | null = null;
  /** As the handshake set it; a new server connection starts with the same. */
  collation: number;
  variables = new Map<string, string>();
  /** Values as SQL literals. */
  userVariables = new Map<string, string>();
  statements = new Map<number, PreparedStatement>();
  /** What MariaDB's drivers mean by statement id -1; null where the last COM_STMT_PREPARE failed. */
  lastPrepared: PreparedStatement | null = null;
  lastInsertId = 0n;
  /** Status flags of the last answer. */
  status: number = ServerStatus.AUTOCOMMIT;
  autocommit = true;
  /** `SET TRANSACTION …` for the next transaction only, as a command. */
  oneShot: Buffer | null = null;
  /** COM_SET_OPTION's last argument. */
  multiStatements: number | null = null;
  pins = new Set<Pin>();
  /** The last statement's warnings may still be asked for. */
  diagnostics = false;
  /** FOUND_ROWS() may still be asked for. */
  foundRows = false;
  #nextStatementId = 1;

  constructor(collation: number) {
    this.collation = collation;
  }

  get inTransaction(): boolean {
    return (this.status & ServerStatus.IN_TRANS) !== 0;
  }

  /** True where the server connection can be given to another session and the state built up elsewhere. */
  get movable(): boolean {
    return !this.inTransaction && this.pins.size === 0 && !this.diagnostics && !this.foundRows;
  }

  /** Takes in what an OK packet says. */
  learn(ok: OkPacket, changes: readonly SessionChange[]): void {
    this.status = ok.status;
    this.autocommit = (ok.status & ServerStatus.AUTOCOMMIT) !== 0;
    if (ok.insertId !== 0n) this.lastInsertId = ok.insertId;
    // A new character set brings its default collation, and a collation of its own choice is told behind it or not at all.
    if (changes.some((change) => change.kind === 'variable' && change.name === 'character_set_connection')) {
      this.variables.delete('collation_connection');
    }
    for (const change of changes) {
      switch (change.kind) {
        case 'schema':
          this.schema = change.schema === '' ? null : change.schema;
          break;
        case 'variable':
          if (!NOT_STATE.has(change.name) && !TRACKING.test(change.name)) this.variables.set(change.name, change.value);
          break;
        case 'state':
        case 'gtid':
        case 'transaction-characteristics':
        case 'transaction-state':
          break;
      }
    }
  }

  /** Back to what a login with this schema gives: COM_RESET_CONNECTION, COM_CHANGE_USER. Statements are gone. */
  reset(): void {
    this.variables.clear();
    this.userVariables.clear();
    this.statements.clear();
    this.lastPrepared = null;
    this.lastInsertId = 0n;
    this.status = ServerStatus.AUTOCOMMIT;
    this.autocommit = true;
    this.oneShot = null;
    this.pins.clear();
    this.diagnostics = false;
    this.foundRows = false;
  }

  /** The transaction is gone with its server connection. */
  transactionEnded(): void {
    this.status &= ~(ServerStatus.IN_TRANS | ServerStatus.IN_TRANS_READONLY);
  }

  addStatement(packet: Buffer, sql: Buffer, parameters: number, columns: number): PreparedStatement {
    while (this.statements.has(this.#nextStatementId)) this.#nextStatementId++;
    const id = this.#nextStatementId++;
    if (this.#nextStatementId > 0x7fffffff) this.#nextStatementId = 1;
    const longData: Buffer[] = [];
    const bound = { types: null, typesSentOn: null, longData, longDataBytes: 0 };
    const statement: PreparedStatement = { id, packet, sql, parameters, columns, ...bound };
    this.statements.set(id, statement);
    this.lastPrepared = statement;
    return statement;
  }

  /**
   * The commands that bring a server connection from its login's (or a reset's) state to this one, in order. `asAtLogin`:
   * SQL for what a login with this profile sets and a reset forgets.
   */
  restoreCommands(afterReset: boolean, asAtLogin: readonly string[]): QuietCommand[] {
    const commands: QuietCommand[] = [];
    const add = (packet: Buffer, what: string): void => {
      commands.push({ packet, shape: 'result', status: this.status, what });
    };
    const query = (sql: string, what: string): void => add(commandPacket(Command.QUERY, sql), what);
    if (afterReset) add(commandPacket(Command.RESET_CONNECTION), 'reset');
    query(TRACKING_SETUP, 'session tracking');
    if (afterReset) for (const sql of asAtLogin) query(sql, 'what a login sets');
    if (this.multiStatements !== null) {
      const option = Buffer.alloc(2);
      option.writeUInt16LE(this.multiStatements, 0);
      add(commandPacket(Command.SET_OPTION, option), 'COM_SET_OPTION');
    }
    if (this.schema !== null) add(commandPacket(Command.INIT_DB, this.schema), `default schema ${this.schema}`);
    const sets: string[] = [];
    for (const [name, value] of this.variables) sets.push(`SESSION ${quoteName(name)}=${variableValue(name, value)}`);
    for (const [name, value] of this.userVariables) sets.push(`@${quoteName(name)}=${value}`);
    if (this.lastInsertId !== 0n) sets.push(`SESSION last_insert_id=${this.lastInsertId}`);
    if (!this.autocommit) sets.push('SESSION autocommit=0');
    if (sets.length > 0) query(`SET ${sets.join(', ')}`, 'session variables');
    if (this.oneShot !== null) add(this.oneShot, 'SET TRANSACTION');
    return commands;
  }
}

function quoteName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/** Servers report every value as text; numbers must go back as numbers, and text as text. */
function variableValue(name: string, value: string): string {
  if (/^-?\d+(\.\d+)?$/.test(value)) return value;
  if (value === '' && name === 'character_set_results') return 'NULL';
  if (/^[\w.,:/+ -]*$/.test(value)) return `'${value}'`;
  // Hex: no quote, backslash or sql_mode can change what it means.
  return `CONVERT(0x${Buffer.from(value, 'utf8').toString('hex')} USING utf8mb4)`;
}
