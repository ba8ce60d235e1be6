// Keeps one session's writes through the loss of their server. It opens transactions so that they can be asked about
// (witness.ts), records them so that they can be run again (recording.ts), and where a server was lost it asks the next
// one, replays, and goes on (course.ts decides). An autocommit write gets a transaction of its own, so that what it
// answered is known before its commit is sent.
//
// Where the account may not be witnessed (accounts.ts) or the session holds what breaks the scheme, it stands aside.
import { broken } from '../../messages/index.ts';
import type { StatementKind } from '../../sql/index.ts';
import { Command, type ErrPacket } from '../../wire/index.ts';
import { askAftermath } from '../aftermath.ts';
import { asNew } from '../bring-up.ts';
import type { Client } from '../client.ts';
import { executes, type ServerRequest } from '../command.ts';
import { gatewayError, withoutVerdict } from '../errors.ts';
import { isCutOff, isReadOnlyNode } from '../evidence.ts';
import type { Course, Flight } from '../flight.ts';
import { type QuietCommand, type QuietResult, runQuietly } from '../quiet.ts';
import type { LoginProfile, Loss, ServerConnection } from '../server-connection.ts';
import { ask } from './ask.ts';
import { CHOOSES_GTID, Chosen, NOTHING } from './chosen.ts';
import { whatNow } from './commit.ts';
import { type Next, whenLost, whenTold } from './course.ts';
import { commits, endOf, whatMayEnd } from './ends.ts';
import { Found } from './found.ts';
import { beginsReadOnly, mayWrite, type Opening, opens } from './opens.ts';
import { parses } from './parses.ts';
import { Recording, repeatable } from './recording.ts';
import { type Replayed, replay } from './replay.ts';
import { type Guarded, interrupted, type Transaction } from './types.ts';
import { commitWithLedger, verb, type Witnesses } from './witness.ts';

/**
 * ER_LOCK_WAIT_TIMEOUT (innodb_rollback_on_timeout), ER_CHECKREAD (MariaDB's innodb_snapshot_isolation), ER_LOCK_TABLE_FULL: the server may have
 * rolled the transaction back, and an error tells no status.
 */
const MAY_HAVE_ENDED = new Set([1205, 1020, 1206]);
/** ER_LOCK_WAIT_TIMEOUT, ER_QUERY_INTERRUPTED, ER_QUERY_TIMEOUT, ER_STATEMENT_TIMEOUT: where the transaction goes on, it is as it was before the statement. */
const LEFT_NOTHING = new Set([1205, 1317, 3024, 1969]);

/** What was pinned to a connection is nothing to them: it is said with the next statement. */
const GOES_ON: ReadonlySet<StatementKind> = new Set(['begin', 'set', 'admin', 'commit']);

/** As if it were a user variable. */
const COLLATION = '@@collation_connection';

/** All that it does it does to tables. */
function isPlainDml({ sql: { flags, kind } }: ServerRequest): boolean {
  if (flags.unknownFunction || flags.setsUserVariable || flags.setsLastInsertId || flags.calcFoundRows) return false;
  return kind === 'write' || kind === 'read' || kind === 'locking-read';
}

/**
 * ER_GTID_NEXT_TYPE_UNDEFINED_GTID, ER_CANT_DO_IMPLICIT_COMMIT_IN_TRX_WHEN_GTID_NEXT_IS_SET,
 * ER_GTID_UNSAFE_NON_TRANSACTIONAL_TABLE: something committed inside the transaction.
 */
const COMMITS_INSIDE = new Set([1837, 1778, 1785]);
export class Guard {
  #client: Client;
  #transaction: Transaction | null = null;
  #witnesses: Witnesses;
  #chosen: Chosen;
  #found = new Found();
  /** Its last statement failed in a way that may have ended it. */
  #mayBeOver = false;

  constructor(client: Client) {
    this.#client = client;
    this.#witnesses = client.worker.backend(client.cluster).witnesses;
    this.#chosen = new Chosen(this.#witnesses);
  }

  /** Something that went ahead of a statement failed. A privilege that was there may have been taken away. */
  refused(what: string, err: ErrPacket): void {
    if (what !== CHOOSES_GTID) return;
    this.#client.worker.witnessed.learn(this.#client, 'not-granted', err.message);
    if (this.#transaction !== null) this.#transaction.witness = null;
  }

  get opening(): readonly QuietCommand[] {
    return this.#chosen.opening;
  }

  opened(): void {
    this.#chosen.opening = NOTHING;
  }

  /** Most statements are autocommit reads, and none of its business. */
  concerns({ sql }: ServerRequest): boolean {
    const { session } = this.#client;
    return this.#transaction !== null || !sql.rerunnable || session.begun || !session.autocommit;
  }

  courseOf(shareable: boolean): Course {
    const transaction = this.#transaction;
    if (transaction === null || shareable) return 'plain';
    if (transaction.own) return 'own';
    return transaction.recording?.fault === null ? 'recorded' : 'plain';
  }

  // ---- on a link ------------------------------------------------------------------------------------------------

  linked(link: ServerConnection, statement: Guarded): void {
    const transaction = this.#transaction;
    if (transaction !== null) {
      if (transaction.link === null) return this.#resume(link, statement, transaction);
      // Once more: what went ahead of it was awaited.
      if (transaction.opener === statement) return statement.proceed(link);
      return this.#within(link, statement, transaction);
    }
    const how = opens(statement.request, this.#client.session);
    const { witnessed } = this.#client.worker;
    // Nothing is written on a replica, so nothing needs to be witnessed.
    const ability = statement.way === 'replica' ? 'able' : witnessed.abilityOf(this.#client);
    switch (how === null ? 'unable' : ability) {
      case 'unable':
        // An earlier transaction was ended by the server, and its errors might have been asked for.
        if (!statement.request.sql.flags.asksDiagnostics) this.#chosen.putAway(link);
        return statement.proceed(link);
      case 'unknown':
        statement.busy();
        return witnessed.probe(link, this.#client, (lost) => {
          if (statement.over) return;
          if (lost !== null) statement.again(lost);
          else this.linked(link, statement);
        });
      case 'able':
        if (how !== 'own' && this.#waitsToBeRead(link, statement)) return;
        this.#open(link, statement, how as Opening);
        return statement.proceed(link);
    }
  }

  get #flavor(): 'mysql' | 'mariadb' {
    return this.#client.worker.flavor(this.#client.cluster);
  }

  /** A transaction is run again from what its session had built up before it: that must be known. */
  #waitsToBeRead(link: ServerConnection, statement: Guarded): boolean {
    const { tether } = this.#client;
    const waits = tether.waitsToBeRead(() => {
      if (statement.over) return;
      if (tether.link === link) this.linked(link, statement);
      else statement.again(null);
    });
    if (waits) statement.busy();
    return waits;
  }

  #open(link: ServerConnection, statement: Guarded, how: Opening): void {
    const { session, worker } = this.#client;
    const own = how === 'own';
    const writes = !beginsReadOnly(statement.request, session);
    const flavor = this.#flavor;
    const witness = flavor === 'mysql' && writes ? this.#witnesses.take('mysql') : null;
    let recording: Recording | null = null;
    if (!own) {
      const begin = { start: session.state, oneShot: session.oneShot, begun: how === 'begun' };
      recording = new Recording(begin, worker.settings.replay, worker.recordings);
      if (session.unread || session.pins.size > 0) recording.spoil('a statement that cannot be repeated');
    }
    this.#transaction = {
      link,
      own,
      opener: statement,
      witness,
      // Before its snapshot: a row that somebody has changed since would be none that it may change.
      reserved: flavor === 'mariadb' && writes ? this.#witnesses.take('mariadb') : null,
      recording,
      readOnly: !writes,
      sent: own ? 'own-write' : 'statement',
      wrote: own || mayWrite(statement.request),
      unwitnessed: false,
      refused: null,
      held: [],
      unanswered: false,
      variables: [],
      unreadBefore: own ? [...session.dirtyVariables] : [],
      after: () => statement.succeed(),
    };
    this.#chosen.choose(link, witness, own);
    if (recording !== null) this.#drawLots(link, statement, recording);
  }

  /** A replay must draw the same. */
  #drawLots(link: ServerConnection, { request }: Guarded, recording: Recording): void {
    if (recording.fault !== null) return;
    const chance = this.#found.before(request, this.#client.session);
    if (chance === null) return;
    // Where that is not allowed the replay differs.
    const command = { packet: link.query(chance), what: 'rand_seed1', failed: () => {} };
    this.#chosen.opening = [...this.#chosen.opening, command];
  }

  /** A statement while a transaction is open. */
  #within(link: ServerConnection, statement: Guarded, transaction: Transaction): void {
    const { session } = this.#client;
    if (this.#mayBeOver && !statement.request.sql.flags.asksDiagnostics) return this.#askWhetherOver(link, statement);
    const { sql, command } = statement.request;
    if (command !== Command.QUERY && !executes(command)) return statement.proceed(link);
    const { flags, kind } = sql;
    if (kind === 'commit' || kind === 'rollback') {
      const { chain, release } = endOf(statement.request, session);
      // The next one is read-only as well: there is nothing to be asked about, and the server knows how it begins.
      if (chain && transaction.readOnly) {
        transaction.recording?.spoil('a statement that cannot be repeated');
        return statement.proceed(link);
      }
      const oneShot = transaction.recording?.oneShot ?? null;
      const then = (at: ServerConnection, warnings = 0): void => {
        if (warnings > 0) {
          session.diagnostics = true;
          at.hasDiagnostics = true;
        }
        this.#chain(chain, oneShot);
        statement.committed = kind === 'commit';
        if (release) statement.proceed(at);
        else statement.succeed(warnings);
      };
      if (kind === 'commit') this.#commit(link, statement, transaction, then);
      else this.#rollback(link, statement, then);
      return;
    }
    const ends = whatMayEnd(statement.request, session, this.#client.capabilities);
    if (kind === 'multi' && ends?.sql.kind === 'rollback') {
      return this.#rollback(link, statement, (at) => this.linked(at, statement));
    }
    // What commits implicitly may not do so under a GTID that was chosen; and its own outcome is another one.
    if (ends !== null && commits(ends.sql, ends.text, session)) {
      return this.#commitAhead(link, statement, transaction, ends.text);
    }
    // Of one that failed as it began the server may have put the number away.
    if (session.halfBegun && transaction.witness?.kind === 'gtid' && !flags.asksDiagnostics) {
      const other = this.#witnesses.take('mysql');
      this.#chosen.chooseAgain(link, other, () => {
        transaction.witness = other;
      });
    }
    transaction.wrote ||= mayWrite(statement.request);
    if (transaction.recording !== null) this.#drawLots(link, statement, transaction.recording);
    return statement.proceed(link);
  }

  #askWhetherOver(link: ServerConnection, statement: Guarded): void {
    const { session } = this.#client;
    const ok: QuietCommand['ok'] = (answer, changes) => session.learn(answer, changes);
    statement.busy();
    link.lastSession = null;
    runQuietly(link, [{ packet: link.query('DO 0'), what: 'whether a transaction is open', ok }], (result) => {
      if (statement.over) return;
      if (result.kind === 'lost') return statement.again(result.loss);
      this.#mayBeOver = false;
      if (!session.inTransaction) this.#end();
      this.linked(link, statement);
    });
  }

  /** The statement would commit what is open. */
  #commitAhead(link: ServerConnection, statement: Guarded, transaction: Transaction, text: Buffer | null): void {
    const { sql, command } = statement.request;
    const goOn = (at: ServerConnection): void => {
      statement.committed = GOES_ON.has(sql.kind);
      // What the rest of it might need: another table may have the name of a temporary one.
      const lost = statement.committed ? null : this.#client.tether.takeLostState(sql.kind);
      if (lost !== null && 'error' in lost) return statement.fail(lost.error);
      if (statement.way === 'replica') statement.again(null);
      else this.linked(at, statement);
    };
    if (sql.kind === 'begin') {
      // Read-only or not, servers begin it as the one before, and it may be that there is nothing to be asked about.
      if (transaction.readOnly) {
        this.#end();
        return statement.proceed(link);
      }
      const oneShot = transaction.recording?.oneShot ?? null;
      return this.#commit(link, statement, transaction, (at) => {
        this.#asBefore(oneShot);
        goOn(at);
      });
    }
    const then = (): void => this.#commit(link, statement, transaction, goOn);
    if (command !== Command.QUERY || text === null) return then();
    statement.busy();
    parses(link, text, sql.kind === 'set', (parsed) => {
      if (statement.over) return;
      switch (parsed.kind) {
        case 'reads':
          return then();
        case 'fails':
          return statement.proceed(link);
        case 'rolled-back':
          return this.#rollback(link, statement, () => statement.fail(parsed.err));
        case 'lost':
          return statement.again(parsed.loss);
      }
    });
  }

  /** A transaction that is chained to the one before is of the same isolation. */
  #chain(chain: boolean, oneShot: string | null): void {
    const { session } = this.#client;
    session.begun = chain;
    session.oneShot = null;
    if (chain) this.#asBefore(oneShot);
  }

  /** The next transaction is of the isolation that was asked for the one before alone. */
  #asBefore(oneShot: string | null): void {
    if (oneShot === null) return;
    const { session } = this.#client;
    session.oneShot = oneShot;
    session.oneShotOn = null;
  }

  // ---- its answer -----------------------------------------------------------------------------------------------

  /** True: the guard says when the statement has its answer. */
  landed(flight: Flight, statement: Guarded): boolean {
    const transaction = this.#transaction;
    if (transaction === null) return false;
    transaction.opener = null;
    if (transaction.own) {
      transaction.held = flight.held;
      this.#closeOwn(flight, statement, transaction);
      return true;
    }
    const { mark, errno } = flight;
    // Of a statement that failed the server does not tell whether it has written.
    transaction.wrote ||= flight.wrote || errno !== 0;
    const { request, packet } = statement;
    this.#mayBeOver = MAY_HAVE_ENDED.has(errno);
    if (COMMITS_INSIDE.has(errno)) this.#client.worker.witnessed.learn(this.#client, 'commits-inside', String(errno));
    // Of what has not begun for sure its client has seen an error and nothing else.
    // Nor is what waited in vain, or was stopped, run again: it might not be this time.
    const nothing = LEFT_NOTHING.has(errno) && isPlainDml(request);
    if (request.command !== Command.STMT_PREPARE && !this.#client.session.halfBegun && !nothing) {
      // A local file comes once.
      if (flight.file !== 'none') transaction.recording?.spoil('a statement that cannot be repeated');
      const was = this.#found.after(flight.sentAtMs, request, this.#client.session, transaction.recording);
      if (was === null) transaction.recording?.spoil('a statement that cannot be repeated');
      else transaction.recording?.add(packet, request, request.statement?.longData ?? null, was, mark);
    }
    return false;
  }

  /** An autocommit write has answered: what it has done is made permanent, or taken back. */
  #closeOwn(flight: Flight, statement: Guarded, transaction: Transaction): void {
    const { link } = flight;
    const { tether } = this.#client;
    statement.busy();
    tether.aftermath = null;
    const then = (): void => statement.answer(flight.held);
    const { serverError } = flight;
    if (serverError !== null && statement.takesAnotherNumber(serverError)) {
      return this.#rollback(link, statement, () => statement.again(null));
    }
    if (flight.failed) this.#rollback(link, statement, then, this.#aftermath(link));
    else this.#commit(link, statement, transaction, then);
  }

  /** What the last statement left behind is asked for ahead of what would clear it. */
  #aftermath(link: ServerConnection): QuietCommand[] {
    const { session, tether, capabilities } = this.#client;
    if (!session.diagnostics) return [];
    tether.aftermath = { warnings: null };
    const commands = askAftermath(link, session, capabilities, (aftermath) => {
      tether.aftermath = aftermath;
    });
    session.diagnostics = false;
    session.calcFoundRows = false;
    return commands;
  }

  #rollback(
    link: ServerConnection,
    statement: Guarded,
    then: (link: ServerConnection, warnings: number) => void,
    ahead: QuietCommand[] = [],
  ): void {
    const { session } = this.#client;
    let warnings = 0;
    const rollback = this.#chosen.rollback(link, (answer, changes) => {
      ({ warnings } = answer);
      session.learn(answer, changes);
    });
    const commands = [...ahead, ...rollback];
    statement.busy();
    link.lastSession = null;
    runQuietly(link, commands, (result) => {
      if (statement.over) return;
      // Lost or not, it is rolled back.
      if (result.kind !== 'done') link.lose({ kind: 'closed', detail: 'a rollback failed' });
      this.#end();
      session.transactionEnded();
      // Of tables that keep what was written; where another command came behind they are gone.
      then(link, rollback.length === 1 ? warnings : 0);
    });
  }

  #commit(
    link: ServerConnection,
    statement: Guarded,
    transaction: Transaction,
    after: (link: ServerConnection) => void,
  ): void {
    const { session } = this.#client;
    transaction.after = after;
    transaction.sent = 'commit';
    transaction.opener = null;
    let sql = verb('COMMIT');
    const ledger = this.#flavor === 'mariadb' && transaction.wrote && !transaction.readOnly;
    if (ledger) {
      transaction.witness = transaction.reserved ?? this.#witnesses.take('mariadb');
      transaction.reserved = null;
      sql = commitWithLedger(transaction.witness, link);
    }
    // A COMMIT of the client's own leaves on MariaDB what the statement before it left.
    const ahead = transaction.own || ledger ? this.#aftermath(link) : [];
    // MySQL would log an empty transaction under the number.
    if (transaction.witness?.kind === 'gtid' && !transaction.wrote) sql = verb('ROLLBACK');
    const ok: QuietCommand['ok'] = (answer, changes) => {
      session.learn(answer, changes);
      session.transactionEnded();
    };
    const commands: QuietCommand[] = [...ahead, { packet: link.query(sql), what: 'commit', ok }];
    commands.push(...this.#chosen.away(link));
    statement.busy();
    link.lastSession = null;
    runQuietly(link, commands, (result) => {
      if (!statement.over) this.#committed(link, statement, transaction, result, ahead.length);
    });
  }

  /** `commitAt`: which of the commands was the commit. */
  #committed(
    link: ServerConnection,
    statement: Guarded,
    transaction: Transaction,
    result: QuietResult,
    commitAt: number,
  ): void {
    const { worker } = this.#client;
    const { witness, wrote } = transaction;
    if (result.kind === 'lost') return this.#afterLoss(result.loss, statement, transaction);
    if (result.kind === 'done') {
      if (witness?.kind === 'ledger') witness.row.node = link.node;
      if (witness !== null) this.#witnesses.giveBack(witness, wrote ? 'used' : 'unused');
      this.#end();
      return transaction.after(link);
    }
    const { err, at } = result;
    link.hasDiagnostics = true;
    const now = at > commitAt ? 'ask' : whatNow(err, worker.directory.greeting(this.#client.cluster));
    switch (now) {
      case 'ask-the-group':
      case 'ask':
        // Back in its cluster, the same member takes it.
        if (now === 'ask-the-group' && !isCutOff(err)) transaction.refused = { node: link.node, err };
        if (isReadOnlyNode(err)) this.#client.suspect(link.node, 'read-only', err.message);
        if (witness?.kind === 'ledger') witness.row.node = null;
        link.lose({ kind: 'closed', detail: err.message });
        return this.#afterLoss({ kind: 'closed', detail: err.message }, statement, transaction);
      case 'unable':
        worker.witnessed.learn(this.#client, 'not-granted', err.message);
        return this.#commitPlainly(link, statement, transaction);
      case 'plain':
        return this.#commitPlainly(link, statement, transaction);
      case 'rolled-back':
        return this.#rollback(link, statement, () => this.#commitFails(statement, err));
      case 'roll-back': {
        const told = gatewayError('transaction-lost', err.message);
        return this.#rollback(link, statement, () => this.#commitFails(statement, told));
      }
    }
  }

  #commitFails(statement: Guarded, err: ErrPacket): void {
    // Whatever was read of the statement before is not what is asked for now.
    this.#client.tether.aftermath = { warnings: null };
    statement.fail(err);
  }

  /** The transaction is still open: it is committed as it would be without us. */
  #commitPlainly(link: ServerConnection, statement: Guarded, transaction: Transaction): void {
    transaction.witness = null;
    transaction.unwitnessed = true;
    runQuietly(link, [{ packet: link.query(verb('COMMIT')), what: 'commit' }], (result) => {
      if (statement.over) return;
      if (result.kind === 'lost') return this.#afterLoss(result.loss, statement, transaction);
      this.#client.session.transactionEnded();
      this.#end();
      if (result.kind === 'error') this.#commitFails(statement, result.err);
      else transaction.after(link);
    });
  }

  /** The statement is finished. A transaction that the session is not in any more is over. */
  settled(): void {
    const transaction = this.#transaction;
    this.#chosen.opening = NOTHING;
    if (transaction === null || (transaction.link === null && this.#client.session.inTransaction)) return;
    const { inTransaction, halfBegun } = this.#client.session;
    if (!inTransaction && !halfBegun) this.#end();
  }

  #end(): void {
    const transaction = this.#transaction;
    if (transaction !== null) {
      const { link, recording, reserved, variables, witness } = transaction;
      recording?.forget();
      if (variables.length > 0) this.#client.tether.loseVariables();
      // It was lost, and is asked about no more.
      if (link === null && witness?.kind === 'gtid')
        this.#witnesses.abandon(witness, this.#client.profile as LoginProfile);
      if (reserved !== null) this.#witnesses.giveBack(reserved, 'unused');
    }
    this.#transaction = null;
    this.#mayBeOver = false;
    this.#chosen.opening = NOTHING;
  }

  // ---- lost -----------------------------------------------------------------------------------------------------

  /** Whether what is open could be run again from its beginning. */
  get startsOver(): boolean {
    const transaction = this.#transaction;
    return transaction !== null && (transaction.own || transaction.recording?.fault === null);
  }

  /** The connection that the session held is gone. True: what was open on it may go on elsewhere. */
  linkGone(): boolean {
    const transaction = this.#transaction;
    this.#chosen.opening = NOTHING;
    this.#chosen.lost(transaction?.witness ?? null);
    if (transaction === null) return false;
    transaction.link = null;
    transaction.opener = null;
    // Its server may have rolled it back, and nobody can ask it any more.
    if (this.#mayBeOver) transaction.recording?.spoil('a statement that cannot be repeated');
    const { collationUnknown, dirtyVariables } = this.#client.session;
    if (dirtyVariables.size > 0 || collationUnknown) {
      transaction.variables = [...dirtyVariables, ...(collationUnknown ? [COLLATION] : [])];
    }
    if (this.#client.session.pins.size > 0) transaction.recording?.spoil('a statement that cannot be repeated');
    if (transaction.sent !== 'statement') return true;
    if (transaction.recording?.fault === null) return true;
    this.#end();
    return false;
  }

  /** The server was lost under a statement. True: the guard has seen to it. */
  lost(loss: Loss, shown: boolean, statement: Guarded, sent: boolean): boolean {
    const transaction = this.#transaction;
    if (transaction === null) return false;
    transaction.unanswered = transaction.own && sent;
    const next = whenLost(interrupted(transaction, shown));
    // What was on its way may have committed by itself, or done what no rollback undoes.
    const again = transaction.sent !== 'statement' || repeatable(statement.request.sql);
    if (next.do === 'fail' || !again) {
      this.#end();
      return false;
    }
    transaction.link = null;
    statement.again(loss);
    return true;
  }

  #afterLoss(loss: Loss, statement: Guarded, transaction: Transaction): void {
    transaction.link = null;
    const next = whenLost(interrupted(transaction, false));
    if (next.do !== 'answer') return statement.again(loss);
    this.#client.session.transactionEnded();
    this.#end();
    const { sql } = statement.request;
    if (sql.kind !== 'commit') return statement.again(loss);
    const { chain } = endOf(statement.request, this.#client.session);
    this.#chain(chain, transaction.recording?.oneShot ?? null);
    statement.succeed();
  }

  /** A ROLLBACK of what is lost anyway needs no server. */
  forgoes(request: ServerRequest): boolean {
    const transaction = this.#transaction;
    if (transaction === null || transaction.link !== null) return false;
    if (request.sql.kind !== 'rollback' || endOf(request, this.#client.session).release) return false;
    this.#end();
    return true;
  }

  /** Whether the statement's own outcome is not known: it must not be called unexecuted. */
  get inDoubt(): boolean {
    const transaction = this.#transaction;
    if (transaction === null || transaction.link !== null) return false;
    return transaction.unanswered || (transaction.sent === 'commit' && transaction.wrote);
  }

  /** On the next server. */
  #resume(link: ServerConnection, statement: Guarded, transaction: Transaction): void {
    const next = whenLost(interrupted(transaction, false));
    if (next.do !== 'ask') return this.#go(next, link, statement, transaction);
    const { worker } = this.#client;
    statement.busy();
    link.lastSession = null;
    const { flavor, group } = worker.directory.greeting(this.#client.cluster);
    const timeoutMs = statement.deadlineMs - worker.nowMs();
    const ahead = asNew(link, worker.backend(this.#client.cluster).bringUp) ?? [];
    ask(link, { flavor, group, witness: transaction.witness, timeoutMs, ahead }, (answer) => {
      if (statement.over) return;
      if (answer.kind === 'lost') return statement.again(answer.loss);
      const { covered, why } = answer;
      const told = transaction.unwitnessed ? 'untold' : answer.told;
      worker.count('outcomes', told);
      const { witness } = transaction;
      if (witness?.kind === 'ledger' && told !== 'untold') {
        witness.row.node = link.node;
        this.#witnesses.giveBack(witness, 'used');
      }
      if (witness !== null && told !== 'executed') this.#witnesses.abandon(witness, link.profile);
      transaction.witness = null;
      const { refused } = transaction;
      if (told === 'not-executed' && covered && refused?.node === link.node) {
        // The same member, which takes part in its group: it would refuse it again.
        this.#client.session.transactionEnded();
        this.#end();
        return this.#commitFails(statement, refused.err);
      }
      transaction.refused = null;
      this.#go(whenTold(interrupted(transaction, false), told, covered), link, statement, transaction, why);
    });
  }

  #go(next: Next, link: ServerConnection, statement: Guarded, transaction: Transaction, why = ''): void {
    const { session, tether } = this.#client;
    switch (next.do) {
      case 'ask':
        throw new Error('asked twice');
      case 'answer':
        session.transactionEnded();
        this.#end();
        return transaction.after(link);
      case 'run-again': {
        const { userVariables } = statement.request.sql;
        const { unreadBefore, variables } = transaction;
        transaction.variables = variables.filter(
          (name) => unreadBefore.includes(name) || !userVariables.includes(name),
        );
        this.#end();
        const lost = tether.takeLostState(statement.request.sql.kind);
        if (lost !== null && 'error' in lost) return statement.fail(lost.error);
        return this.linked(link, statement);
      }
      case 'replay':
        return this.#replay(link, statement, transaction);
      case 'fail':
        session.transactionEnded();
        this.#end();
        return statement.fail(gatewayError(next.verdict, transaction.recording?.fault ?? why));
    }
  }

  // ---- replay ---------------------------------------------------------------------------------------------------

  #replay(link: ServerConnection, statement: Guarded, transaction: Transaction): void {
    const { session } = this.#client;
    const recording = transaction.recording as Recording;
    const { begun } = session;
    session.transactionEnded();
    if (recording.statements.length === 0 && transaction.sent === 'statement') {
      // Nobody was shown anything of it: it begins with this statement.
      this.#end();
      session.begun = begun || recording.begun;
      return this.linked(link, statement);
    }
    const { state, oneShot } = session;
    session.state = recording.start;
    session.oneShot = recording.oneShot;
    session.oneShotOn = null;
    session.begun = recording.begun && broken !== 'replay-without-begin';
    transaction.link = link;
    transaction.witness = this.#flavor === 'mysql' && !transaction.readOnly ? this.#witnesses.take('mysql') : null;
    this.#chosen.choose(link, transaction.witness, false);
    statement.busy();
    replay(this.#client, link, recording.statements, (result) => {
      if (statement.over) return;
      const same = result.kind === 'same' && (session.inTransaction || !transaction.wrote);
      if (!same) {
        session.state = state;
        session.oneShot = oneShot;
        session.begun = false;
      }
      this.#replayed(result, same, link, statement, transaction);
    });
  }

  #replayed(
    result: Replayed,
    same: boolean,
    link: ServerConnection,
    statement: Guarded,
    transaction: Transaction,
  ): void {
    const { session, worker, tether } = this.#client;
    if (result.kind === 'lost') {
      worker.count('replays', 'lost');
      transaction.link = null;
      // Still in it, as far as its client knows.
      session.resumeTransaction();
      return statement.again(result.loss);
    }
    worker.count('replays', same ? 'same' : 'differs');
    if (same) {
      transaction.variables = [];
      return transaction.sent === 'commit'
        ? this.#commit(link, statement, transaction, transaction.after)
        : this.linked(link, statement);
    }
    this.#end();
    session.transactionEnded();
    const why = result.kind === 'differs' ? `statement ${result.at}: ${result.why}` : 'it ended early';
    link.lose({ kind: 'closed', detail: 'a replay that differs' });
    tether.dropLink('a replay that differs');
    tether.forgetLostTransaction();
    statement.fail(gatewayError('transaction-lost', `run again, ${why}`));
  }

  // ---- giving the connection back -------------------------------------------------------------------------------

  /** A GTID is chosen on it: it is not for others yet. */
  owes(link: ServerConnection): boolean {
    return this.#chosen.on === link;
  }

  /** Calls back when the link is as any other, or lost. */
  clean(link: ServerConnection, callback: () => void): void {
    this.#end();
    link.lastSession = null;
    runQuietly(link, this.#chosen.rollback(link), (result) => {
      if (result.kind === 'error') link.lose({ kind: 'closed', detail: `gtid_next: ${result.err.message}` });
      callback();
    });
  }

  /** The session begins anew, or its client leaves. */
  forget = (): void => {
    this.#chosen.abandon();
    this.#end();
  };

  /** For a statement that cannot be told its outcome any more. */
  verdict(err: ErrPacket): ErrPacket {
    if (!this.inDoubt) return err;
    this.#client.session.transactionEnded();
    this.#end();
    return gatewayError('outcome-unknown', withoutVerdict(err.message));
  }
}
