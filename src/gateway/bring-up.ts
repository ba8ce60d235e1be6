// What must be sent ahead of a statement so that its server connection has what the session has built up: the difference
// of their states, LAST_INSERT_ID(), a clean slate of warnings, the statement prepared. And what makes a connection fit
// for strangers again.
import type { Flavor } from '../messages/index.ts';
import { type Classification, classify, rewriteCalls } from '../sql/index.ts';
import { asPacket, Command, commandPacket, type ErrPacket, HEADER_BYTES, type Packet } from '../wire/index.ts';
import { executes, type ServerRequest } from './command.ts';
import { defaultsSetBy, readDefaults } from './defaults.ts';
import type { Directory } from './directory.ts';
import { gatewayError } from './errors.ts';
import { isReadOnlyNode, isShutdown } from './evidence.ts';
import { learnOfFailedRoutine } from './learn.ts';
import {
  asPrepared,
  asReset,
  changed,
  difference,
  type LinkState,
  type Step,
  sameState,
  type Terms,
} from './link-state.ts';
import type { LogicalStatement } from './prepared.ts';
import { BEGIN, type QuietCommand, type QuietResult, type QuietRow, runQuietly } from './quiet.ts';
import { DIALECT_MULTI_STATEMENTS, loginSettings, loginVariables, type ServerConnection } from './server-connection.ts';
import { literalOf, readBackSql, type SessionState, trackingSetup } from './session.ts';

/** What the servers of one cluster are known to accept. */
export class Accepted {
  /** SET statements that a server has taken before. */
  #queries = new Set<string>();
  readonly withoutDefault = new Set<string>(SESSION_ONLY);

  add(sql: string): void {
    if (this.#queries.size >= MAX_ACCEPTED) this.#queries.clear();
    this.#queries.add(sql);
  }

  has(sql: string): boolean {
    return this.#queries.has(sql);
  }
}

const MAX_ACCEPTED = 10_000;

/** Variables that go back to their value of the login by a reset only. */
const SESSION_ONLY = [
  'sql_log_bin',
  'timestamp',
  // MySQL 9.7 makes them 0 by `SET … = DEFAULT`, whatever their global values are.
  'foreign_key_checks',
  'unique_checks',
];

/** What goes ahead of a statement. */
export interface BringUp {
  commands: QuietCommand[];
  /** One of them prepares the statement; then the connection's generation of statements, else null. */
  prepares: number | null;
  /** With the BEGIN that was answered before. */
  begins: boolean;
  /** The statement itself, where it must be put differently on this connection. */
  packet: Packet | null;
  /** Whether the statement can go in the same flight: nothing ahead of it can fail, as far as is known. */
  sure: boolean;
  /** Whether it can where it can be run again, should something ahead of it fail. */
  sureForReads: boolean;
}

export interface BringUpOptions {
  flavor: Flavor;
  directory: Directory;
  cluster: string;
  accepted: Accepted;
  /** Servers are to tell the GTIDs of what is committed. */
  tracksGtids: boolean;
}

/** It cannot be brought up: this connection will do for nobody of this session; or LAST_INSERT_ID() must be fetched first. */
export type Obstacle = { unreachable: true } | { fetchFrom: ServerConnection } | { error: ErrPacket };

/** What `link` needs before the statement can run on it as it would on the session's own connection. */
export function bringUp(
  link: ServerConnection,
  { session, request, shareable, warned, opening }: BringUpFor,
  options: BringUpOptions,
): BringUp | Obstacle {
  const into: BringUp = { commands: [], prepares: null, begins: false, packet: null, sure: true, sureForReads: true };
  const { sql, statement, command } = request;
  const { flags } = sql;
  const fresh = opening.length === 0; // what goes ahead leaves no trace of the statement before
  const ownLast = fresh && link.lastSession === session && session.lastOn === link && !session.lastAnsweredHere;
  // What stands in the way comes first: what is queued below must be sent.
  const settles = canSettleInsertId(link, session);
  const setsInsertId = !request.plain && !hasInsertIdOf(link, session) && seesInsertId(sql);
  if (setsInsertId) {
    const from = session.insertIdOn as ServerConnection | null;
    // Also where it is this one: it was asked already, before something took the value from it.
    if (from?.ready === true && !settles) return { fetchFrom: from };
    if (from !== null && !settles) session.loseInsertId();
    if (!settles && session.insertIdLost && flags.asksInsertId)
      return { error: gatewayError('state-lost', 'LAST_INSERT_ID()') };
  }
  // A sequence's last value, a GTID: neither can be asked for, nor be set.
  if (flags.asksConnection && !knowsWhatIsAsked(link, session, request)) {
    return { error: gatewayError('state-lost', 'what only the last server connection of its writes knows') };
  }
  session.moveTo(link.state);
  const wanted = wantedOn(link, session, command);
  if (difference(link.state, wanted, termsFor(link, options)) === null) return { unreachable: true };
  const countsAreThere = ownLast && !setsInsertId && (session.foundRowsThere || !asksFoundRows(request));
  if (flags.asksCounts && !countsAreThere && asksBefore(request)) {
    into.packet = withCounts(request, session, link);
    if (into.packet === null) return { error: gatewayError('state-lost', 'FOUND_ROWS() and ROW_COUNT()') };
  }
  if (!shareable) addInsertIdRescue(into, link, session);
  addDifference(into, link, wanted, options);
  if (setsInsertId && settles) {
    into.commands.push({ packet: link.query(session.settledInsertId()), what: 'LAST_INSERT_ID()' });
  }
  // Asked for, it may be asked for again, and this connection may be gone by then.
  if (readsInsertIdAhead(sql) && session.insertIdOn === link) into.commands.push(readInsertId(link, session));
  if (setsInsertId && !settles) addInsertId(into, link, session);
  if (session.oneShot !== null && session.oneShotOn !== link) {
    into.commands.push({ packet: link.query(session.oneShot), what: 'SET TRANSACTION' });
    into.sure = false;
    session.oneShotOn = link;
  }
  if (flags.globalScope) addDefaults(into, link, session, defaultsSetBy(request, options.flavor));
  // It may be chosen outside of transactions only.
  into.commands.push(...opening);
  if (session.begun && command !== Command.STMT_PREPARE) {
    session.begun = false;
    // Its own answer counts: that of a statement that fails says nothing of the transaction.
    const ok: QuietCommand['ok'] = (answer) => session.learn(answer, []);
    into.commands.push({ packet: link.query(BEGIN), what: 'BEGIN', ok });
    into.begins = true;
  }
  const clean = !flags.asksDiagnostics || session.diagnostics || (ownLast && !link.hasDiagnostics && warned === null);
  // GET DIAGNOSTICS can have it of the connection's last statement only, which would be another one.
  if (!clean && asksRowCount(request)) return { error: gatewayError('state-lost', 'ROW_COUNT') };
  if (flags.asksDiagnostics && !session.diagnostics) {
    if (warned === 'on-its-connection') {
      if (sql.kind !== 'multi' && !(ownLast && into.commands.length === 0)) {
        return { error: gatewayError('state-lost', 'the warnings of the statement before') };
      }
    } else if (warned !== null) into.commands.push(runAgain(link, warned));
    else if (link.hasDiagnostics || into.commands.length > 0) addCleanSlate(into, link);
  }
  if (statement !== null && executes(command) && !link.prepared.has(statement.logical)) {
    // As far as it cannot be prepared as it was (a session without a schema), it is prepared as things are.
    addPrepare(into, link, statement.logical, options);
  }
  return into;
}

function knowsWhatIsAsked(link: ServerConnection, session: SessionState, { text }: ServerRequest): boolean {
  if (session.wroteOn === link && link.lastWriter === session) return true;
  return session.namesOf('trace').has('profiling') && /\bprofiles?\b/i.test(text?.toString('latin1') ?? '');
}

function addDefaults(into: BringUp, link: ServerConnection, session: SessionState, names: readonly string[]): void {
  session.replaced = null;
  if (names.length > 0) into.commands.push(readDefaults(link, session, names));
}

/** Warnings of what shared its connection, with its header: it can be run again, or only the connection has them. */
export type Warned = Buffer | 'on-its-connection' | null;

export interface BringUpFor {
  session: SessionState;
  request: ServerRequest;
  shareable: boolean;
  /** The session's last read, where it left warnings on a connection that it shared. */
  warned: Warned;
  /** What a transaction begins with that can be asked about, ahead of its BEGIN. */
  opening: readonly QuietCommand[];
}

/** LAST_INSERT_ID() is asked for, or may be in what we do not see. */
function seesInsertId({ kind, flags }: Classification): boolean {
  if (flags.asksInsertId || flags.setsLastInsertId || flags.unknownFunction) return true;
  return kind === 'call' || kind === 'multi' || kind === 'unknown' || kind === 'prepare';
}

/** LAST_INSERT_ID() is read ahead of it where nobody has: that would leave it neither the counts of the statement before nor its warnings. */
export function readsInsertIdAhead({ flags }: Classification): boolean {
  return flags.asksInsertId && !flags.asksCounts && !flags.asksDiagnostics;
}

function runAgain(link: ServerConnection, packet: Buffer): QuietCommand {
  const again: QuietCommand = { packet, what: 'the statement before', failed: () => {} };
  if (packet[HEADER_BYTES] !== Command.STMT_PREPARE) return again;
  return { ...again, shape: 'prepare', prepared: (id) => link.closeStatement(id) };
}

/** A statement in between does not change it, but may have run elsewhere. */
function asksFoundRows({ text }: ServerRequest): boolean {
  return text === null || /found_rows/i.test(text.toString('latin1'));
}

function asksRowCount({ text }: ServerRequest): boolean {
  return text !== null && /\bget\b.*\bdiagnostics\b.*\brow_count\b/is.test(text.toString('latin1'));
}

/** Several statements ask about each other, but for the first of them. */
function asksBefore({ sql, text }: ServerRequest): boolean {
  return sql.kind !== 'multi' || text === null || /^[^;]*(found_rows|row_count)/i.test(text.toString('latin1'));
}

/** The text with the numbers that FOUND_ROWS() and ROW_COUNT() stand for in this session; null where it cannot be. */
function withCounts(
  { command, text, options, sql }: ServerRequest,
  session: SessionState,
  link: ServerConnection,
): Packet | null {
  if (command !== Command.QUERY || text === null || sql.kind === 'multi') return null;
  const calls = {
    ...(session.foundRows < 0 ? {} : { found_rows: bigint(session.foundRows) }),
    row_count: bigint(session.rowCount),
  };
  const rewritten = rewriteCalls(text, options, calls);
  if (rewritten === null || classify(rewritten, options).flags.asksCounts) return null;
  return asPacket(link.query(rewritten));
}

/** An expression of the functions' type, and of their length: drivers show a BIGINT otherwise than an INT. */
function bigint(n: number | bigint): string {
  return `CAST('${n < 0 ? '-' : ''}${String(n < 0 ? -n : n).padStart(n < 0 ? 20 : 21, '0')}' AS SIGNED)`;
}

function termsFor(link: ServerConnection, options: BringUpOptions): Terms {
  const { flavor, directory, cluster, accepted, tracksGtids } = options;
  const characterSet = directory.characterSet(cluster, link.profile.collation);
  return {
    flavor,
    asAtLogin: characterSet === null ? null : loginSettings(link.profile, characterSet),
    tracking: trackingSetup(flavor, directory.trackedVariables(cluster), tracksGtids),
    multiStatements: (link.profile.dialect & DIALECT_MULTI_STATEMENTS) !== 0,
    withoutDefault: accepted.withoutDefault,
    ofLogin: loginVariables(link.profile),
  };
}

/** Adds what brings `link` to `wanted`, if it can be. The link's state is the new one from now on. */
function addDifference(into: BringUp, link: ServerConnection, wanted: LinkState, options: BringUpOptions): void {
  if (sameState(link.state, wanted)) return;
  const steps = difference(link.state, wanted, termsFor(link, options));
  if (steps === null || steps.length === 0) return;
  link.hasDiagnostics = true; // servers warn of some settings
  for (const step of steps) {
    if (step.kind === 'reset') addReset(into, link);
    into.commands.push(commandFor(link, step, options.accepted));
    const sure: boolean = step.kind === 'query' ? step.sure || options.accepted.has(step.sql) : step.kind === 'option';
    into.sure &&= sure;
  }
  link.state = wanted;
}

/** What the session wants of the link. A command that chooses the schema does not care which one there was. */
function wantedOn(link: ServerConnection, { state }: SessionState, command: number): LinkState {
  if (command !== Command.INIT_DB || link.state.schema === state.schema) return state;
  return changed(state, { schema: link.state.schema });
}

/** A reset takes more than state: what nobody has read yet is read before, and what was prepared is gone after it. */
function addReset(into: Pick<BringUp, 'commands' | 'sureForReads'>, link: ServerConnection): void {
  const { insertIdOf } = link;
  if (insertIdOf?.hasUnreadInsertIdOn(link) === true) into.commands.push(readInsertId(link, insertIdOf));
  link.insertIdOf = null;
  link.insertIdValue = 0n;
  link.lastWriter = null;
  link.prepared.clear();
  into.sureForReads = false;
}

function commandFor(link: ServerConnection, step: Step, accepted: Accepted): QuietCommand {
  switch (step.kind) {
    case 'reset':
      return { packet: commandPacket(Command.RESET_CONNECTION), what: 'reset' };
    case 'schema':
      return { packet: commandPacket(Command.INIT_DB, step.schema), what: `default schema ${step.schema}` };
    case 'option': {
      const option = Buffer.alloc(2);
      option.writeUInt16LE(step.value, 0);
      return { packet: commandPacket(Command.SET_OPTION, option), what: 'COM_SET_OPTION' };
    }
    case 'query': {
      const { sql, sure, defaults } = step;
      const ok = sure ? {} : { ok: () => accepted.add(sql) };
      const what = defaults.length === 0 ? 'session variables' : `session variables ${defaults.join(', ')}`;
      return { packet: link.query(sql), what, ...ok };
    }
  }
}

/** Prepares a statement as it was prepared first, as far as that can be without taking something from the connection. */
function addPrepare(into: BringUp, link: ServerConnection, statement: LogicalStatement, options: BringUpOptions): void {
  const wanted = link.state;
  const alike = !statement.seesUserVariables && wanted.preparesAs === statement.state.preparesAs;
  const then = alike ? wanted : asPrepared(wanted, statement.state, statement.seesUserVariables);
  const terms = termsFor(link, options);
  const there = [difference(wanted, then, terms), difference(then, wanted, terms)];
  const stays = alike || there.some((way) => way === null || way.some(({ kind }) => kind === 'reset'));
  if (!stays) addDifference(into, link, then, options);
  into.commands.push({ packet: statement.packet, what: 'prepare', shape: 'prepare' });
  into.prepares = link.prepared.generation;
  into.sure = false;
  into.sureForReads = false;
  if (!stays) addDifference(into, link, wanted, options);
}

/** Another session's LAST_INSERT_ID() is on the link, and nobody has read it: now, before it is written over. */
function addInsertIdRescue(into: BringUp, link: ServerConnection, session: SessionState): void {
  const other = link.insertIdOf;
  if (other === session && session.insertIdOn === link && session.insertIdCrowded) {
    into.commands.push(readInsertId(link, session));
    return;
  }
  if (other === null || (other === session && session.insertIdBefore?.link !== link)) return;
  link.insertIdOf = null;
  if (other.hasUnreadInsertIdOn(link)) into.commands.push(readInsertId(link, other));
}

export function readInsertId(link: ServerConnection, session: SessionState): QuietCommand {
  const { insertIdSettled } = session;
  const row = (answer: QuietRow | null): void => {
    // Asked ahead of a statement that has made it certain since, and is read by itself.
    if (session.insertIdSettled !== insertIdSettled) return;
    const value = BigInt(answer?.values[0] ?? 0);
    // Where it is known already, that is of what was queued behind this: another session's value, or a reset.
    link.insertIdValue ??= value;
    session.readInsertId(link, value);
  };
  return { packet: link.query('SELECT LAST_INSERT_ID() LIMIT 1'), what: 'LAST_INSERT_ID()', row };
}

/** The link's LAST_INSERT_ID() becomes the session's, which is known. */
function addInsertId(into: BringUp, link: ServerConnection, session: SessionState): void {
  const sql = `SET SESSION last_insert_id=${session.insertId}`;
  into.commands.push({ packet: link.query(sql), what: 'LAST_INSERT_ID()' });
  link.insertIdOf = session;
  link.insertIdVersion = session.insertIdVersion;
  link.insertIdValue = session.insertId;
}

/** It is in doubt on this very connection only, and known if it is not there. */
function canSettleInsertId(link: ServerConnection, session: SessionState): boolean {
  const { insertIdOn, insertIdClaim, insertIdBefore, insertIdLost, insertIdVersion } = session;
  if (insertIdOn !== link || insertIdClaim === 0n || insertIdBefore !== null || insertIdLost) return false;
  return link.insertIdOf === session && link.insertIdVersion === insertIdVersion;
}

function hasInsertIdOf(link: ServerConnection, session: SessionState): boolean {
  if (session.insertIdOn === link && (session.insertIdClaim !== 0n || session.insertIdInDoubt)) return false;
  return link.insertIdOf === session && link.insertIdVersion === session.insertIdVersion;
}

/** No warnings of strangers: the session's own last statement left none. */
function addCleanSlate(into: BringUp, link: ServerConnection): void {
  // With a table, since MariaDB keeps the warnings over statements without.
  const sql = 'SELECT 1 FROM (SELECT 1) AS evenkeel';
  into.commands.push({ packet: link.query(sql), what: 'a clean slate' });
}

/**
 * Reads back what the session's statements have left on the link and no server tells. Calls back once; false where it
 * could not be read.
 */
export function readBack(link: ServerConnection, session: SessionState, callback: (read: boolean) => void): void {
  const commands: QuietCommand[] = [];
  let read = true;
  if (session.uncertain) {
    const ok: QuietCommand['ok'] = (answer, changes) => {
      session.learn(answer, changes);
      if (!session.routineFailed) return;
      const changed = changes.some(({ kind }) => kind === 'state');
      learnOfFailedRoutine(session, changed);
    };
    commands.push({ packet: link.query('DO 0'), what: 'what changed', ok });
    session.uncertain = false;
  }
  if (session.collationUnknown) {
    session.collationUnknown = false;
    const row = (answer: QuietRow | null): void => {
      session.setVariable('collation_connection', answer?.values[0] ?? '');
    };
    commands.push({ packet: link.query('SELECT @@collation_connection LIMIT 1'), what: 'collation_connection', row });
  }
  const names = [...session.dirtyVariables];
  if (names.length > 0) {
    const row = (answer: QuietRow | null): void => {
      const values = names.map((name, at): [string, string | null | undefined] => {
        const column = answer?.columns[4 * at] ?? { type: 0, flags: 0 };
        return [name, literalOf(column, answer?.values.slice(4 * at, 4 * at + 4) ?? [])];
      });
      read = answer !== null && values.every(([, literal]) => literal !== undefined);
      if (read) session.setUserVariables(values as [string, string | null][]);
    };
    commands.push({ packet: link.query(readBackSql(names)), what: 'user variables', row });
  }
  const locks = [...session.namesOf('named-lock')];
  if (locks.length > 0 && !locks.includes('*')) commands.push(readLocks(link, session, locks));
  if (commands.length === 0) return callback(true);
  link.lastSession = null; // ROW_COUNT() and the like are of what was read
  runQuietly(link, commands, (result) => {
    if (result.kind === 'done') link.state = session.state;
    callback(result.kind === 'done' && read);
  });
}

/** Which named locks the session still has. */
function readLocks(link: ServerConnection, session: SessionState, names: string[]): QuietCommand {
  const ours = (name: string): string => {
    const literal = `CONVERT(0x${Buffer.from(name, 'utf8').toString('hex')} USING utf8mb4)`;
    return `IS_USED_LOCK(${literal}) <=> CONNECTION_ID()`;
  };
  const row = (answer: QuietRow | null): void => {
    names.forEach((name, at) => {
      if (answer?.values[at] === '0') session.unpin('named-lock', name);
    });
  };
  return { packet: link.query(`SELECT ${names.map(ours).join(', ')} LIMIT 1`), what: 'named locks', row };
}

/** A fresh connection is made to report what changes on it. */
export function setUp(link: ServerConnection, options: BringUpOptions, ready: () => void): void {
  const { flavor, directory, cluster } = options;
  const commands: QuietCommand[] = [];
  const query = (sql: string): Buffer => link.query(sql);
  directory.askCharacterSet(cluster, link.profile.collation, query, commands);
  directory.askTrackedVariables(cluster, query, commands);
  const report = (): void => {
    const sql = trackingSetup(flavor, directory.trackedVariables(cluster), options.tracksGtids);
    const tracking = [{ packet: link.query(sql), what: 'session tracking' }];
    runQuietly(link, tracking, (result) => finish(link, result, ready));
  };
  if (commands.length === 0) return report();
  runQuietly(link, commands, (result) => {
    if (result.kind === 'done') report();
    else finish(link, result, ready);
  });
}

function finish(link: ServerConnection, result: QuietResult, ready: () => void): void {
  if (result.kind === 'done') ready();
  else if (result.kind === 'lost') link.lose(result.loss);
  else if (isShutdown(result.err)) link.lose({ kind: 'shutdown', detail: result.err.message });
  else if (isReadOnlyNode(result.err)) link.lose({ kind: 'connect-failed', detail: result.err.message });
  // An expired password, MAX_QUERIES_PER_HOUR: it says nothing of the node.
  else link.lose({ kind: 'refused', err: result.err });
}

/** Makes the link as a login leaves it: clears all that sessions left behind, an open transaction and pins as well. Null: that cannot be. */
export function asNew(link: ServerConnection, options: BringUpOptions): QuietCommand[] | null {
  const terms = termsFor(link, options);
  if (terms.asAtLogin === null) return null;
  const into = { commands: [] as QuietCommand[], sureForReads: true };
  addReset(into, link);
  into.commands.push({ packet: commandPacket(Command.RESET_CONNECTION), what: 'reset' });
  for (const sql of [terms.tracking, ...terms.asAtLogin]) {
    into.commands.push({ packet: link.query(sql), what: 'what a login sets' });
  }
  link.state = asReset(link.state);
  return into.commands;
}

/** Clears all that a session left behind: an open transaction, pins. Calls back once where that worked. */
export function recycle(link: ServerConnection, options: BringUpOptions, done: () => void): void {
  const commands = asNew(link, options);
  if (commands === null) return link.lose({ kind: 'closed', detail: 'released' });
  runQuietly(link, commands, (result) => {
    if (result.kind === 'done') done();
    else link.lose({ kind: 'closed', detail: 'released' });
  });
}
