// What a client has built up in its session. What can be put into SQL is in `state` and travels to whatever server
// connection the session's next statement gets (link-state.ts). What cannot pins the session to its server connection,
// under a name, and is lost with it: then the next statement is told so.
import type { Flavor, Replaced } from '../messages/index.ts';
import { type OkPacket, ServerStatus, type SessionChange } from '../wire/index.ts';
import type { Causality } from './causality.ts';
import { InsertId } from './insert-id.ts';
import { AT_LOGIN, asReset, changed, type LinkState, onLink, quoteName, withHidden } from './link-state.ts';
import type { LogicalStatement } from './prepared.ts';
import type { Read, Reader } from './reading.ts';

/** What lives in the server connection only. The words are metric labels and stand in the error that tells of a loss. */
export type Pin =
  | 'temporary-table'
  | 'table-lock'
  | 'named-lock'
  | 'cursor'
  | 'xa'
  | 'sql-prepare'
  | 'handler'
  /** A user variable whose value is too long to carry about, or cannot be read. */
  | 'user-variable'
  /** A system variable that means something on the server connection it was set on only, such as insert_id. */
  | 'unmovable-variable'
  /** The server writes down what the connection's statements do: profiling, optimizer_trace. */
  | 'trace'
  /** The client tells the server what to report: what we must know may be missing. */
  | 'session-tracking'
  /** A routine or a text that we do not understand changed something that no server names. */
  | 'unknown-effect';

/** Why a session keeps its server connection; the reasons beside pins end by themselves. */
export type Hold = Pin | 'transaction' | 'diagnostics' | 'counts' | 'one-shot-transaction' | 'reading-back';

/** A prepared statement as one client knows it. */
export interface PreparedStatement {
  /** The id that the client was given. */
  readonly id: number;
  readonly logical: LogicalStatement;
  /** Parameter types of the last execute that sent them; later ones may leave them out. */
  types: Buffer | null;
  /** COM_STMT_SEND_LONG_DATA packets for the next execute. */
  longData: Buffer[] | null;
  longDataBytes: number;
}

/** Told by servers, but no part of what a session is. */
const NOT_STATE = new Set([
  'statement_id',
  'last_gtid',
  'last_insert_id',
  'warning_count',
  'error_count',
  'in_transaction',
  'autocommit', // part of the status flags
  'identity',
  'character_set_database', // follow the schema, and may not be set by everybody
  'collation_database',
]);

/** For the next statement only, or reported with another value than they have: where they were set they stay. */
const UNMOVABLE = new Set([
  'insert_id',
  'rand_seed1',
  'rand_seed2',
  'gtid_next',
  'gtid_seq_no',
  'gtid_domain_id',
  'server_id',
  'pseudo_thread_id',
  'pseudo_slave_mode',
  'pseudo_replica_mode',
  'skip_replication',
]);

/** While it is on, a read may ask for the row that the connection inserted last, without a word of that. */
const AUTO_IS_NULL = 'sql_auto_is_null';

/** Whose statements they show is decided by the connection. */
const TRACES = new Set(['profiling', 'optimizer_trace']);

/** The variables by which we make servers report; a client's own view of them is left alone. */
const TRACKING = /^session_track_/;

const LASTING =
  ServerStatus.AUTOCOMMIT |
  ServerStatus.IN_TRANS |
  ServerStatus.IN_TRANS_READONLY |
  ServerStatus.NO_BACKSLASH_ESCAPES |
  ServerStatus.ANSI_QUOTES;

const NO_STATEMENTS: ReadonlyMap<number, PreparedStatement> = new Map();
const NO_PINS: ReadonlySet<Pin> = new Set();
/** All user variables of a session together, as SQL. */
const MAX_USER_VARIABLES_BYTES = 64 * 1024;
const MAX_NAMES = 60;

/** What new sessions begin with. `sqlMode`: null where it is not known. */
export interface SessionDefaults {
  autocommit: boolean;
  sqlMode: string | null;
}

const USUAL_DEFAULTS: SessionDefaults = { autocommit: true, sqlMode: '' };

export class SessionState extends InsertId implements Reader {
  /** The login's, where the server takes no COM_INIT_DB before the expired password is changed. */
  schemaAfterPassword: string | null = null;
  state: LinkState = AT_LOGIN;
  readonly collation: number;
  /** `''`: nothing that changes how texts are read. */
  sqlMode: string | null = '';
  read: Read | null = null;
  /** What its reads must not be older than; null where all of them go where its writes go. */
  readonly causality: Causality | null;
  /** Status flags of the last answer. */
  status: number = ServerStatus.AUTOCOMMIT;
  /** `SET TRANSACTION …` for the next transaction only, as the text of the command. */
  oneShot: string | null = null;
  /** The server connection that was told. */
  oneShotOn: object | null = null;
  /** A read came behind it: only with a table in it does it count as the next transaction. */
  oneShotDoubtful = false;
  /** BEGIN was answered, and goes out with the first statement of the transaction. */
  begun = false;
  /** With autocommit off a savepoint stands before the transaction's first table, and no status flag tells. */
  savepoint = false;
  /** With autocommit off a statement failed that would have begun a transaction: it may have, and an error tells no status. */
  halfBegun = false;
  /** The last statement was answered without a server: no connection knows of it. */
  lastAnsweredHere = false;
  /** The server connection that had its last statement that may have changed anything. */
  wroteOn: object | null = null;
  /** Warnings or errors of the last statement may still be asked for, and only on its connection. */
  diagnostics = false;
  /** FOUND_ROWS() after SQL_CALC_FOUND_ROWS: only the server knows. */
  calcFoundRows = false;
  /** A statement failed that may have changed something before: the server tells with its next answer. */
  uncertain = false;
  /** A routine was among it, which may change what no server names: user variables. */
  routineFailed = false;
  /** A character set was chosen, and its collation is not told. */
  collationUnknown = false;
  /** What ROW_COUNT() and FOUND_ROWS() say, for when the connection has served others since. Found rows: -1 for not known. */
  rowCount = 0n;
  foundRows = 0;
  /** The last statement has set FOUND_ROWS() on the connection that it ran on. */
  foundRowsThere = false;
  /** The connection that it ran on. */
  lastOn: object | null = null;
  /** What its SET GLOBAL, if it succeeds, has replaced (defaults.ts). */
  replaced: Replaced | null = null;
  /** What MariaDB's drivers mean by statement id -1; null where the last COM_STMT_PREPARE failed. */
  lastPrepared: PreparedStatement | null = null;
  #statements: Map<number, PreparedStatement> | null = null;
  #pins: Set<Pin> | null = null;
  /** Names of what pins, by pin; `*` where some are not known. */
  #names: Map<Pin, Set<string>> | null = null;
  #dirty: Set<string> | null = null;
  #nextStatementId = 1;

  constructor(collation: number, causality: Causality | null = null) {
    super();
    this.causality = causality;
    this.collation = collation;
  }

  /** As a login or a reset leaves it, where the servers have these defaults. */
  begin({ autocommit, sqlMode }: SessionDefaults): void {
    this.sqlMode = sqlMode;
    if (autocommit) return;
    this.state = changed(this.state, { autocommit });
    this.status &= ~ServerStatus.AUTOCOMMIT;
  }

  get inTransaction(): boolean {
    return (this.status & ServerStatus.IN_TRANS) !== 0;
  }

  /** Status flags for an answer of our own: those of the last statement alone are not in it. */
  get lastingStatus(): number {
    return (this.status & LASTING) | (this.begun ? ServerStatus.IN_TRANS : 0);
  }

  get autocommit(): boolean {
    return this.state.autocommit;
  }

  get pins(): ReadonlySet<Pin> {
    return this.#pins ?? NO_PINS;
  }

  /** Why the session keeps its server connection, or null where it can be given to another. */
  get hold(): Hold | null {
    if (this.#pins !== null) for (const pin of this.#pins) return pin;
    if (this.inTransaction || this.savepoint) return 'transaction';
    // MySQL warns of SQL_CALC_FOUND_ROWS each time: both end together, and this one says more.
    if (this.calcFoundRows) return 'counts';
    if (this.diagnostics) return 'diagnostics';
    if (this.oneShot !== null) return 'one-shot-transaction';
    return this.unread ? 'reading-back' : null;
  }

  pin(pin: Pin, name = '*'): void {
    this.#pins ??= new Set();
    this.#pins.add(pin);
    this.#names ??= new Map();
    const names = this.#names.get(pin) ?? new Set();
    this.#names.set(pin, names.add(names.size < MAX_NAMES ? name : '*'));
  }

  /** Ends a pin, or one name of it: the pin ends with the last. */
  unpin(pin: Pin, name?: string): void {
    if (this.#pins === null) return;
    const names = this.#names?.get(pin);
    if (name !== undefined) {
      names?.delete(name);
      if (names !== undefined && names.size > 0) return;
    }
    this.#names?.delete(pin);
    this.#pins.delete(pin);
    if (this.#pins.size === 0) {
      this.#pins = null;
      this.#names = null;
    }
  }

  namesOf(pin: Pin): ReadonlySet<string> {
    return this.#names?.get(pin) ?? new Set();
  }

  clearPins(): void {
    this.#pins = null;
    this.#names = null;
    this.#dirty = null;
  }

  /** Takes in what an OK packet says. `ok` is good for the call only. */
  learn(ok: OkPacket, changes: readonly SessionChange[]): void {
    this.status = ok.status;
    this.halfBegun = false;
    const autocommit = (ok.status & ServerStatus.AUTOCOMMIT) !== 0;
    if (autocommit !== this.state.autocommit) this.state = changed(this.state, { autocommit });
    if (changes.length > 0) this.#learnChanges(changes);
  }

  #learnChanges(changes: readonly SessionChange[]): void {
    let variables: Map<string, string> | null = null;
    let { schema } = this.state;
    // A new character set brings its default collation, and a collation of its own choice is told behind it or not at all.
    if (changes.some((change) => change.kind === 'variable' && change.name === 'character_set_connection')) {
      variables = new Map(this.state.variables);
      variables.delete('collation_connection');
    }
    for (const change of changes) {
      if (change.kind === 'gtid') this.causality?.tell(change.gtid);
      else if (change.kind === 'variable' && change.name === 'last_gtid') this.causality?.tell(change.value);
      if (change.kind === 'schema') schema = change.schema === '' ? null : change.schema;
      else if (change.kind === 'variable' && UNMOVABLE.has(change.name)) this.pin('unmovable-variable');
      else if (change.kind === 'variable' && TRACES.has(change.name)) this.#trace(change.name, change.value);
      else if (change.kind === 'variable' && change.name === AUTO_IS_NULL && this.#asksByNull(change.value)) continue;
      else if (change.kind === 'variable' && !NOT_STATE.has(change.name) && !TRACKING.test(change.name)) {
        variables ??= new Map(this.state.variables);
        variables.set(change.name, change.value);
      }
    }
    if (variables !== null || schema !== this.state.schema) {
      this.state = changed(this.state, { schema, variables: variables ?? this.state.variables });
    }
  }

  /** True: it is on, and stays on this connection. */
  #asksByNull(value: string): boolean {
    const on = /^(on|1)$/i.test(value);
    if (on) this.pin('unmovable-variable', AUTO_IS_NULL);
    else this.unpin('unmovable-variable', AUTO_IS_NULL);
    return on;
  }

  #trace(name: string, value: string): void {
    if (/^(on|1|.*enabled=on.*)$/i.test(value)) this.pin('trace', name);
    else this.unpin('trace', name);
  }

  chooseSchema(schema: string | null): void {
    if (schema !== this.state.schema) this.state = changed(this.state, { schema });
  }

  setRole(role: string | null): void {
    this.state = changed(this.state, { role });
  }

  setMultiStatements(multiStatements: number): void {
    this.state = changed(this.state, { multiStatements });
  }

  setVariable(name: string, value: string): void {
    this.state = changed(this.state, { variables: new Map(this.state.variables).set(name, value) });
  }

  /** What its last statement left on its server connection, if anything, no server tells: nobody else is to see it. */
  hide(): void {
    this.state = withHidden(this.state);
  }

  /** It goes on with a connection that has, or will have, this state. */
  moveTo(there: LinkState): void {
    this.state = onLink(this.state, there);
  }

  /** As at login again, though the server reports a value. */
  unsetVariable(name: string): void {
    const variables = new Map(this.state.variables);
    if (variables.delete(name)) this.state = changed(this.state, { variables });
  }

  // ---- user variables -------------------------------------------------------------------------------------------

  /** Sets what is known. `literal`: null for NULL, which is the same as never set. */
  setUserVariables(values: Iterable<[name: string, literal: string | null]>): void {
    const userVariables = new Map(this.state.userVariables);
    for (const [name, literal] of values) {
      if (literal === null) userVariables.delete(name);
      else userVariables.set(name, literal);
      this.#dirty?.delete(name);
    }
    if (this.#dirty?.size === 0) this.#dirty = null;
    let bytes = 0;
    for (const [name, literal] of userVariables) bytes += name.length + literal.length;
    if (bytes > MAX_USER_VARIABLES_BYTES) this.pin('user-variable');
    else this.state = changed(this.state, { userVariables });
  }

  /** Their values are whatever the server has: they are read back before the connection is given away. */
  touchUserVariables(names: readonly string[]): void {
    this.#dirty ??= new Set();
    for (const name of names) this.#dirty.add(name);
    if (this.#dirty.size > MAX_NAMES) this.pin('user-variable');
  }

  get dirtyVariables(): ReadonlySet<string> {
    return this.#dirty ?? new Set();
  }

  /** Something was left on the server connection that its state does not say. */
  get unread(): boolean {
    return this.#dirty !== null || this.uncertain || this.collationUnknown;
  }

  /** Something is to be read back, and a read would not disturb what may still be asked for. */
  get needsReadBack(): boolean {
    return this.unread && !this.inTransaction && !this.diagnostics && !this.calcFoundRows;
  }

  /** They cannot be read back. */
  giveUpReadingBack(): void {
    this.#dirty = null;
    this.uncertain = false;
    this.collationUnknown = false;
    this.pin('user-variable');
  }

  // ---- prepared statements --------------------------------------------------------------------------------------

  get statements(): ReadonlyMap<number, PreparedStatement> {
    return this.#statements ?? NO_STATEMENTS;
  }

  addStatement(logical: LogicalStatement): PreparedStatement {
    this.#statements ??= new Map();
    while (this.#statements.has(this.#nextStatementId)) this.#nextStatementId++;
    const id = this.#nextStatementId++;
    if (this.#nextStatementId > 0x7fffffff) this.#nextStatementId = 1;
    const statement: PreparedStatement = { id, logical, types: null, longData: null, longDataBytes: 0 };
    this.#statements.set(id, statement);
    this.lastPrepared = statement;
    return statement;
  }

  closeStatement(id: number): void {
    if (this.lastPrepared?.id === id) this.lastPrepared = null;
    this.#statements?.delete(id);
  }

  // ---- ends -----------------------------------------------------------------------------------------------------

  /** Back to what a login with this schema gives: COM_RESET_CONNECTION. Statements are gone; roles stay as they are. `defaults`: see `begin`. */
  reset(defaults: SessionDefaults = USUAL_DEFAULTS): void {
    this.state = asReset(this.state);
    this.#statements = null;
    this.lastPrepared = null;
    this.insertIdVersion++;
    this.knowInsertId(0n);
    this.wroteOn = null;
    this.status = ServerStatus.AUTOCOMMIT;
    this.begin(defaults);
    this.oneShot = null;
    this.oneShotDoubtful = false;
    this.begun = false;
    this.savepoint = false;
    this.halfBegun = false;
    this.clearPins();
    this.diagnostics = false;
    this.calcFoundRows = false;
    this.uncertain = false;
    this.routineFailed = false;
    this.collationUnknown = false;
    this.rowCount = 0n;
    this.foundRows = 0;
  }

  /** It goes on elsewhere. */
  resumeTransaction(): void {
    this.status |= ServerStatus.IN_TRANS;
  }

  /** The transaction is gone with its server connection. */
  transactionEnded(): void {
    this.begun = false;
    this.halfBegun = false;
    this.status &= ~(ServerStatus.IN_TRANS | ServerStatus.IN_TRANS_READONLY);
  }
}

/**
 * What makes a server report the changes of a session, and autocommit is on, which a server's default may be against. Sent first on
 * every server connection. `variables`: see Directory.
 */
export function trackingSetup(flavor: Flavor, variables: string, gtids: boolean): string {
  // MySQL's `*` also tells a number with every answer, so the variables are listed; MariaDB knows no list of all.
  const list = flavor === 'mysql' && variables !== '' ? variables : '*';
  // MariaDB tells it as a variable. And whether a transaction writes, which texts may hide: of single statements it says nothing, so that costs
  // next to nothing; MySQL would say it with each, and is told to for transactions alone (witness.ts).
  const own =
    flavor === 'mariadb' ? ', session_track_transaction_info=STATE' : gtids ? ', session_track_gtids=OWN_GTID' : '';
  return `SET SESSION session_track_schema=ON, session_track_system_variables='${list}', session_track_state_change=ON${own}, autocommit=1`;
}

/**
 * MySQL: the names of its variables, as one JSON array. Without the number that changes with every statement, and without `gtid_next`,
 * which is chosen ahead of every transaction: of a client's own choice its text tells, or a change that no variable explains
 * (learn.ts).
 */
export const TRACKED_VARIABLES =
  "SELECT JSON_ARRAYAGG(variable_name) FROM performance_schema.session_variables WHERE variable_name NOT IN ('statement_id', " +
  "'gtid_next') AND variable_name NOT LIKE 'session\\_track\\_%'";

/** SQL that reads user variables back: four columns each, see `literalOf`. */
export function readBackSql(names: Iterable<string>): string {
  const columns: string[] = [];
  for (const name of names) {
    const v = `@${quoteName(name)}`;
    columns.push(v, `IF(LENGTH(${v}) > ${MAX_USER_VARIABLES_BYTES / 2}, NULL, HEX(${v}))`, `CHARSET(${v})`);
    columns.push(`COLLATION(${v})`);
  }
  return `SELECT ${columns.join(', ')} LIMIT 1`; // sql_select_limit may be 0
}

/** Column types of the protocol that user variables are reported in. */
const TYPE_DOUBLE = 5;
const TYPE_LONGLONG = 8;
const TYPE_NEWDECIMAL = 246;
const FLAG_UNSIGNED = 32;

/** A NULL has a type, too. */
function nullOf({ type, flags }: { type: number; flags: number }): string | null {
  if (type === TYPE_LONGLONG) return (flags & FLAG_UNSIGNED) === 0 ? 'CAST(NULL AS SIGNED)' : 'CAST(NULL AS UNSIGNED)';
  return type === TYPE_NEWDECIMAL ? 'CAST(NULL AS DECIMAL(65))' : null;
}

/**
 * A user variable as it was read back, as a SQL literal; null for NULL, undefined where it is too long.
 */
export function literalOf(
  column: { type: number; flags: number },
  [value, hex, charset, collation]: (string | null)[],
): string | null | undefined {
  if (value === null || value === undefined) return nullOf(column);
  switch (column.type) {
    case TYPE_LONGLONG:
      return (column.flags & FLAG_UNSIGNED) === 0 ? value : `CAST(${value} AS UNSIGNED)`;
    case TYPE_NEWDECIMAL:
      return value.includes('.') ? value : `CAST(${value} AS DECIMAL(65))`;
    case TYPE_DOUBLE:
      return /e/i.test(value) ? value : `${value}e0`;
    default:
      if (hex === null || hex === undefined) return undefined;
      return charset === 'binary' || !charset ? `X'${hex}'` : `_${charset} X'${hex}' COLLATE ${collation}`;
  }
}
