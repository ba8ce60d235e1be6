// Asks the server that a route leads to after a loss whether a transaction was committed. It is the old one, which lives
// after all, or a new primary, which has applied everything that it had received before the route led to it. On the old
// one a commit may still be on its way: the question comes after it, or keeps it from being executed.
import type { Flavor } from '../../messages/index.ts';
import type { ErrPacket } from '../../wire/index.ts';
import type { QuietCommand } from '../quiet.ts';
import { runQuietly } from '../quiet.ts';
import type { Loss, ServerConnection } from '../server-connection.ts';
import type { Told } from './course.ts';
import { chooseGtid, putGtidAway, question, toldBy, type Witness } from './witness.ts';

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

/** `witness`: null where no commit was sent. Calls back once; `timeoutMs`: then the connection is given up. */
export function ask(
  link: ServerConnection,
  flavor: Flavor,
  witness: Witness | null,
  timeoutMs: number,
  callback: (answer: Answer) => void,
): void {
  let told: Told = witness === null ? 'not-executed' : 'untold';
  let covered = flavor === 'mysql';
  let conflict: ErrPacket | null = null;
  const askedAt = performance.now();
  const commands: QuietCommand[] = [];
  const add = (sql: string, more: Partial<QuietCommand> = {}): void => {
    commands.push({ packet: link.query(sql), what: 'outcome', ...more });
  };
  if (witness?.kind === 'gtid') {
    const { gtid } = witness;
    // Waits for whoever has it; released at once, unused.
    add(chooseGtid(witness, false));
    add('ROLLBACK');
    add(putGtidAway(false));
    add(`SELECT GTID_SUBSET('${gtid}', @@global.gtid_executed)`, {
      row: (row) => {
        const value = row?.values[0];
        if (value === '0' || value === '1') told = value === '1' ? 'executed' : 'not-executed';
      },
    });
  } else if (witness?.kind === 'ledger') {
    let found: Told = 'untold';
    const { claims, read } = question(witness);
    add('BEGIN');
    // Of a claim that failed, what the row has tells; nothing, where it is not there.
    for (const sql of claims) add(sql, { failed: (err) => (conflict = err) });
    add(read, { row: (row) => (found = toldBy(witness, row?.values[0] ?? null)) });
    add('COMMIT', { ok: () => (told = found) });
  }
  // MySQL logs what such a table keeps under the chosen GTID at once.
  if (flavor === 'mariadb') add(UNCOVERED, { row: (row) => (covered = row?.values[0] === '0') });
  const timer = setTimeout(() => link.lose({ kind: 'closed', detail: 'no answer in time' }), Math.max(1, timeoutMs));
  runQuietly(link, commands, (result) => {
    clearTimeout(timer);
    if (result.kind === 'lost') return callback({ kind: 'lost', loss: result.loss });
    const again = told === 'untold' && conflict !== null && CONFLICTS.has(conflict.errno);
    const leftMs = timeoutMs - (performance.now() - askedAt) - CONFLICT_PAUSE_MS;
    if (again && leftMs > 0) {
      setTimeout(() => ask(link, flavor, witness, leftMs, callback), CONFLICT_PAUSE_MS);
      return;
    }
    let why = covered ? '' : 'a table that keeps what is rolled back may have it';
    // Of several that had to succeed one did not: what the others told stands on nothing.
    if (result.kind === 'error') {
      told = 'untold';
      why = `${result.err.errno} ${result.err.message}`;
    } else if (told === 'untold' && conflict !== null) why = `${conflict.errno} ${conflict.message}`;
    callback({ kind: 'told', told, covered, why });
  });
}
