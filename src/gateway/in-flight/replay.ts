// Runs a recorded transaction again on another server, statement by statement, the way it went the first time: the session
// is put back to what it was at its beginning, and learns again from each answer. What its client was shown decides: at
// the first answer that is not the same the replay ends.
//
// Functions of time see the time of the first run (in whole seconds: our clock is not the server's), generated ids, what RAND()
// gives, and LAST_INSERT_ID() where it is asked for are those of the first run.
import { broken } from '../../messages/index.ts';
import { beginningOf, insertsOneRow } from '../../sql/index.ts';
import type { Packet } from '../../wire/index.ts';
import type { Client } from '../client.ts';
import { executes, type ServerRequest } from '../command.ts';
import { isReadOnlyNode, isShutdown } from '../evidence.ts';
import { Flight, type Passenger, type Unfit } from '../flight.ts';
import { type QuietCommand, runQuietly } from '../quiet.ts';
import type { Loss, ServerConnection } from '../server-connection.ts';
import type { PreparedStatement } from '../session.ts';
import { type RecordedStatement, sameAnswer } from './recording.ts';

export type Replayed =
  | { kind: 'same' }
  /** `at`: which statement, from 1. */
  | { kind: 'differs'; at: number; why: string }
  | { kind: 'lost'; loss: Loss };

/** Calls back once. The link is the session's own. */
export function replay(
  client: Client,
  link: ServerConnection,
  statements: readonly RecordedStatement[],
  callback: (replayed: Replayed) => void,
): void {
  const hasTime = client.session.state.variables.has('timestamp');
  const next = (at: number): void => {
    const recorded = statements[at];
    if (recorded !== undefined) {
      const go = (result: Once): void => {
        if (result.kind === 'same') next(at + 1);
        else callback(result.kind === 'differs' ? { ...result, at: at + 1 } : result);
      };
      const following = statements[at + 1];
      // The next one that is set takes its place.
      const leaves = setsInsertId(recorded) && (following === undefined || !setsInsertId(following));
      const then = (result: Once): void => {
        if (leaves && result.kind === 'same') takeBack(client, link, go);
        else go(result);
      };
      new Rerun(client, link, recorded, hasTime, then).start();
    } else if (hasTime || statements.length === 0) callback({ kind: 'same' });
    else {
      const back = [{ packet: link.query('SET timestamp=DEFAULT'), what: 'timestamp' }];
      link.lastSession = null; // whose ROW_COUNT() this has taken
      runQuietly(link, back, (result) => {
        if (result.kind === 'lost') callback(result);
        else if (result.kind === 'error') callback({ kind: 'differs', at, why: result.err.message });
        else callback({ kind: 'same' });
      });
    }
  };
  next(0);
}

/**
 * A number of which no row came is still set, and a trigger's row, or the next one, would get it. MariaDB takes it back; of MySQL only
 * the end of the connection does (measured, 9.7: SET insert_id=0 gives the next row a 0).
 */
function takeBack(client: Client, link: ServerConnection, callback: (result: Once) => void): void {
  let left = false;
  const row: QuietCommand['row'] = (answer) => {
    left = answer?.values[0] !== '0';
  };
  const command: QuietCommand =
    client.worker.flavor(client.cluster) === 'mariadb'
      ? { packet: link.query('SET insert_id=DEFAULT'), what: 'insert_id' }
      : { packet: link.query('SELECT @@insert_id LIMIT 1'), what: 'insert_id', row };
  link.lastSession = null; // whose ROW_COUNT() this has taken
  runQuietly(link, [command], (result) => {
    if (result.kind === 'lost') callback(result);
    else if (result.kind === 'error') callback({ kind: 'differs', why: result.err.message });
    else callback(left ? { kind: 'differs', why: 'a row came with a number of its own' } : { kind: 'same' });
  });
}

const INSERTS = /^(insert|replace|with)\b/i;
const UPSERTS = /\bon\s+duplicate\b/i;

/** Its rows are to have the numbers of the first run. What an upsert of several rows tells is the number of any of them. */
function setsInsertId({ mark, request }: RecordedStatement): boolean {
  const { options, sql, text } = request;
  if (mark.insertId === 0n || sql.kind !== 'write' || text === null) return false;
  if (!INSERTS.test(beginningOf(text, 8))) return false;
  return !UPSERTS.test(text.toString('latin1')) || insertsOneRow(text, options);
}

type Once = { kind: 'same' } | { kind: 'differs'; why: string } | { kind: 'lost'; loss: Loss };

/** One statement of it. */
class Rerun implements Passenger {
  readonly client: Client;
  packet: Packet;
  readonly request: ServerRequest;
  readonly shareable = false;
  readonly silent = true;
  readonly mayRetry = false;
  readonly expectedUs = 0;
  readonly course = 'recorded';
  readonly way = 'primary';
  begins = false;
  #link: ServerConnection;
  #recorded: RecordedStatement;
  #hasTime: boolean;
  #callback: (result: Once) => void;
  #over = false;
  /** Of the prepared statement, which the client may be about to execute anew. */
  #kept: Pick<PreparedStatement, 'types' | 'longData'> | null;

  constructor(
    client: Client,
    link: ServerConnection,
    recorded: RecordedStatement,
    hasTime: boolean,
    callback: (result: Once) => void,
  ) {
    this.client = client;
    this.packet = recorded.packet;
    this.request = recorded.request;
    this.#link = link;
    this.#recorded = recorded;
    this.#hasTime = hasTime;
    this.#callback = callback;
    const { statement } = recorded.request;
    this.#kept = statement === null ? null : { types: statement.types, longData: statement.longData };
  }

  start(): void {
    const { session, tether } = this.client;
    const { foundRows, insertId, rowCount } = this.#recorded.was;
    Object.assign(session, { foundRows, rowCount });
    if (insertId !== null) {
      session.insertIdVersion++; // no connection has it
      session.knowInsertId(insertId);
    }
    // What is set ahead of it takes them from the connection. Of warnings it would be the same, so it is not set then.
    if (!this.request.sql.flags.asksDiagnostics) this.#link.lastSession = null;
    const ahead = tether.bringUp(this.#link, this.request, false);
    if ('error' in ahead) return this.#end({ kind: 'differs', why: ahead.error.message });
    if (!('commands' in ahead)) return this.#end({ kind: 'differs', why: 'its session cannot be restored' });
    this.begins ||= ahead.begins;
    const { statement } = this.request;
    if (ahead.commands.length === 0) return this.#send(ahead.packet);
    runQuietly(this.#link, ahead.commands, (result) => {
      if (result.kind === 'lost') return this.#end(result);
      if (result.kind === 'error') return this.#end({ kind: 'differs', why: result.err.message });
      if (statement !== null && ahead.prepares === this.#link.prepared.generation) {
        tether.addPrepared(this.#link, statement.logical, result.statementId);
      }
      this.#send(ahead.packet);
    });
  }

  #send(rewritten: Packet | null): void {
    const { statement, command } = this.request;
    const link = this.#link;
    const prepared = statement === null ? null : (link.prepared.get(statement.logical) ?? null);
    if (statement !== null && prepared === null) {
      return this.#end({ kind: 'differs', why: 'its prepared statement is gone' });
    }
    if (statement !== null && executes(command)) {
      statement.types = this.#recorded.types;
      statement.longData = this.#recorded.longData;
    }
    const asThen = this.#asThen();
    if (asThen.length > 0) runQuietly(link, asThen, () => {});
    if (rewritten !== null) this.packet = rewritten;
    new Flight(this, link).send(prepared);
  }

  /** What it saw when it ran first. A failure shows in what it answers. */
  #asThen(): QuietCommand[] {
    const { was, mark } = this.#recorded;
    const { sentAtMs, chance } = was;
    if (this.request.sql.flags.asksDiagnostics) return [];
    const sqls = this.#hasTime ? [] : [`SET timestamp=${this.#timeOf(sentAtMs)}`];
    if (setsInsertId(this.#recorded)) sqls.push(`SET insert_id=${mark.insertId}`);
    if (chance !== null) sqls.push(chance);
    return sqls.map((sql) => ({ packet: this.#link.query(sql), what: 'as then', failed: () => {} }));
  }

  /**
   * The second in which it ran first. On MariaDB, which keeps history by it, the end of that, or now: no row that the statement changes is newer
   * then, nor is what it writes newer than what others write later.
   */
  #timeOf(sentAtMs: number): string {
    const second = Math.floor(sentAtMs / 1000);
    const { cluster, worker } = this.client;
    if (worker.flavor(cluster) === 'mysql') return String(second);
    return Math.min(second + 0.999999, Date.now() / 1000).toFixed(6);
  }

  /** It has the one that its client was shown. */
  takesAnotherNumber(): boolean {
    return false;
  }

  landed(flight: Flight): void {
    const err = flight.serverError;
    if (err !== null && (isReadOnlyNode(err) || isShutdown(err))) {
      return this.#end({ kind: 'lost', loss: { kind: 'closed', detail: err.message } });
    }
    if (sameAnswer(flight.mark, this.#recorded.mark) || broken === 'no-replay-comparison')
      return this.#end({ kind: 'same' });
    const why = err === null ? 'its answer is another one' : `${err.errno} ${err.message}`;
    this.#end({ kind: 'differs', why });
  }

  turnedAway({ err }: Unfit): void {
    this.#end({ kind: 'lost', loss: { kind: 'shutdown', detail: err.message } });
  }

  lost(loss: Loss): void {
    this.#end({ kind: 'lost', loss });
  }

  divert(): void {}

  #end(result: Once): void {
    if (this.#over) return;
    this.#over = true;
    const { statement } = this.request;
    if (statement !== null && this.#kept !== null) Object.assign(statement, this.#kept);
    this.#callback(result);
  }
}
