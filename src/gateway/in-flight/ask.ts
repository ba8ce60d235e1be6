// Asks the server that a route leads to after a loss whether a transaction was committed. It is the old one, which lives
// after all, or a new primary, which has applied everything that it had received before the route led to it. On the old
// one a commit may still be on its way: the question comes after it, or keeps it from being executed.
import type { Flavor, GroupKind } from '../../messages/index.ts';
import type { ErrPacket } from '../../wire/index.ts';
import { isReadOnlyNode } from '../evidence.ts';
import { BEGIN, type QuietCommand, runQuietly } from '../quiet.ts';
import type { Loss, ServerConnection } from '../server-connection.ts';
import type { Told } from './course.ts';
import { chooseGtid, isAsSaid, putGtidAway, questionOf, toldBy, verb, type Witness, wasExecuted } from './witness.ts';

export type Answer =
  /** `why`: it could not be found out, in a few words; empty where it was. */
  { kind: 'told'; told: Told; covered: boolean; why: string } | { kind: 'lost'; loss: Loss };

/** Tables in which a rolled-back write stays. Only those that the account sees, which are those that it can write to. */
const UNCOVERED =
  "SELECT COUNT(*) FROM information_schema.tables WHERE table_type='BASE TABLE' AND engine NOT IN " +
  "('InnoDB', 'ROCKSDB', 'TokuDB', 'ndbcluster', 'SEQUENCE') AND table_schema NOT IN " +
  "('mysql', 'sys', 'performance_schema', 'information_schema')";

/** ER_CHECKREAD, ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK: others are at the ledger, and the question may be put again. */
const CONFLICTS = new Set([1020, 1205, 1213]);
const CONFLICT_PAUSE_MS = 10;

/** A member that leaves its group makes itself read-only first. */
const TAKES_PART = 'SELECT @@global.super_read_only';
const READ_ONLY_MEMBER = 'a member of a group that is read-only';
const CONSISTENCY = 'group_replication_consistency';
/** ER_GRP_TRX_CONSISTENCY_BEFORE: the member could not wait for its group. */
const LEFT_GROUP = 3797;

export interface Asked {
  flavor: Flavor;
  /** What the control process knows the server to be a member of; null: of none. */
  group: GroupKind | null;
  /** Null where no commit was sent. */
  witness: Witness | null;
  /** Then the connection is given up. */
  timeoutMs: number;
  /** Makes the connection as a login leaves it: what whoever had it before has set is not to have a say. */
  ahead: QuietCommand[];
}

/** Calls back once. */
export function ask(link: ServerConnection, asked: Asked, callback: (answer: Answer) => void): void {
  const { flavor, group, timeoutMs, witness } = asked;
  const askedAt = performance.now();
  const timer = setTimeout(() => link.lose({ kind: 'closed', detail: 'no answer in time' }), Math.max(1, timeoutMs));
  const end = (answer: Answer): void => {
    clearTimeout(timer);
    callback(answer);
  };
  if (witness === null) return askNow(link, asked, askedAt, end, asked.ahead);
  const first: Question = { told: 'untold', conflict: null, commands: [...asked.ahead] };
  const add = adder(link, first);
  let asSaid = false;
  let takesPart = true;
  add(isAsSaid(flavor, group), { row: (row) => (asSaid = row?.values[0] === '1') });
  // One that has left its group answers for itself alone.
  if (group === 'group') add(TAKES_PART, { row: (row) => (takesPart = row?.values[0] === '0') });
  runQuietly(link, first.commands, (result) => {
    if (result.kind === 'lost') return end({ kind: 'lost', loss: result.loss });
    if (result.kind === 'error') return end(untold(link, result.err));
    if (!asSaid)
      return end({ kind: 'told', told: 'untold', covered: true, why: 'the server has joined or left a group' });
    if (!takesPart) return end(leave(link, READ_ONLY_MEMBER));
    askNow(link, asked, askedAt, end);
  });
}

function leave(link: ServerConnection, detail: string): Answer {
  const loss: Loss = { kind: 'closed', detail };
  link.lose(loss);
  return { kind: 'lost', loss };
}

/** What an error makes of it: a server that serves nobody any more is left for the one that the route leads to then. */
function untold(link: ServerConnection, err: ErrPacket): Answer {
  if (isReadOnlyNode(err) || err.errno === LEFT_GROUP) return leave(link, err.message);
  return { kind: 'told', told: 'untold', covered: true, why: `${err.errno} ${err.message}` };
}

function askNow(
  link: ServerConnection,
  asked: Asked,
  askedAt: number,
  end: (answer: Answer) => void,
  ahead: QuietCommand[] = [],
): void {
  const { flavor, group, timeoutMs, witness } = asked;
  const question: Question = {
    told: witness === null ? 'not-executed' : 'untold',
    conflict: null,
    commands: [...ahead],
  };
  const leftMs = (): number => timeoutMs - (performance.now() - askedAt);
  let covered = flavor === 'mysql';
  let takesPart = true;
  if (witness?.kind === 'gtid' && group === 'group') {
    askGroup(link, question, witness);
    adder(link, question)(TAKES_PART, { row: (row) => (takesPart = row?.values[0] === '0') });
  } else if (witness?.kind === 'gtid') askForGtid(link, question, witness);
  else if (witness?.kind === 'ledger') askLedger(link, question, witness);
  // MySQL logs what such a table keeps under the chosen GTID at once.
  if (flavor === 'mariadb') {
    adder(link, question)(UNCOVERED, { row: (row) => (covered = row?.values[0] === '0') });
  }
  runQuietly(link, question.commands, (result) => {
    if (result.kind === 'lost') return end({ kind: 'lost', loss: result.loss });
    // Of several that had to succeed one did not: what the others told stands on nothing.
    if (result.kind === 'error') return end(untold(link, result.err));
    if (!takesPart) return end(leave(link, READ_ONLY_MEMBER));
    const { conflict, told } = question;
    if (told !== 'untold') {
      const why = covered ? '' : 'a table that keeps what is rolled back may have it';
      return end({ kind: 'told', told, covered, why });
    }
    if (conflict === null) return end({ kind: 'told', told, covered, why: '' });
    if (!CONFLICTS.has(conflict.errno) || leftMs() <= CONFLICT_PAUSE_MS) return end(untold(link, conflict));
    setTimeout(() => askNow(link, asked, askedAt, end), CONFLICT_PAUSE_MS);
  });
}

interface Question {
  told: Told;
  /** An error that a part of the question may meet. */
  conflict: ErrPacket | null;
  readonly commands: QuietCommand[];
}

function adder(link: ServerConnection, { commands }: Question) {
  return (sql: string, more: Partial<QuietCommand> = {}): void => {
    commands.push({ packet: link.query(sql), what: 'outcome', ...more });
  };
}

function askForGtid(link: ServerConnection, question: Question, witness: Extract<Witness, { kind: 'gtid' }>): void {
  const add = adder(link, question);
  for (const sql of afterWhoeverHas(witness)) add(sql);
  add(wasExecuted(witness), { row: toldByGtid(question) });
}

/** Waits for whoever has the number; it is released at once, unused. */
function afterWhoeverHas(witness: Witness): string[] {
  return [chooseGtid(witness, false), verb('ROLLBACK'), putGtidAway(false)];
}

/**
 * Group Replication. A member may become the primary with transactions before it that the group has agreed on and it has not
 * executed: BEFORE has a transaction wait for all that the group had agreed on when it began. (An empty transaction under the same
 * number would not do: the group takes both.)
 */
function askGroup(link: ServerConnection, question: Question, witness: Extract<Witness, { kind: 'gtid' }>): void {
  const add = adder(link, question);
  // With another one no GTID can be chosen.
  add(`SET SESSION ${CONSISTENCY}='EVENTUAL'`);
  for (const sql of afterWhoeverHas(witness)) add(sql);
  add(`SET SESSION ${CONSISTENCY}='BEFORE'`);
  add(BEGIN);
  add(wasExecuted(witness), { row: toldByGtid(question) });
  add(verb('COMMIT'));
  add(`SET SESSION ${CONSISTENCY}=DEFAULT`);
}

function toldByGtid(question: Question): NonNullable<QuietCommand['row']> {
  return (row) => {
    const value = row?.values[0];
    if (value === '0' || value === '1') question.told = value === '1' ? 'executed' : 'not-executed';
  };
}

function askLedger(link: ServerConnection, question: Question, witness: Witness): void {
  const add = adder(link, question);
  const { claims, read } = questionOf(witness);
  const failed = (err: ErrPacket): void => {
    question.conflict = err;
  };
  let found: Told = 'untold';
  add(BEGIN);
  // Of a claim that failed, what the row has tells; nothing, where it is not there.
  for (const sql of claims) add(sql, { failed });
  add(read, { row: (row) => (found = toldBy(witness, row?.values[0] ?? null)) });
  // In Galera it fails where the cluster agreed on the other one first.
  add(verb('COMMIT'), { ok: () => (question.told = found), failed });
}
