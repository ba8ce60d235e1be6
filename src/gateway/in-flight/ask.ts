// Asks the server that a route leads to after a loss whether a transaction was committed. It is the old one, which lives
// after all, or a new primary, which has applied everything that it had received before the route led to it. On the old
// one a commit may still be on its way: the question comes after it, or keeps it from being executed.
import type { Flavor } from '../../messages/index.ts';
import type { QuietCommand } from '../quiet.ts';
import { runQuietly } from '../quiet.ts';
import type { Loss, ServerConnection } from '../server-connection.ts';
import type { Told } from './course.ts';
import { chooseGtid, claim, putGtidAway, type Witness } from './witness.ts';

export type Answer = { kind: 'told'; told: Told; covered: boolean } | { kind: 'lost'; loss: Loss };

/** Tables in which a rolled-back write stays. Only those that the account sees, which are those that it can write to. */
const UNCOVERED =
  "SELECT COUNT(*) FROM information_schema.tables WHERE table_type='BASE TABLE' AND engine NOT IN " +
  "('InnoDB', 'ROCKSDB', 'TokuDB', 'ndbcluster', 'SEQUENCE') AND table_schema NOT IN " +
  "('mysql', 'sys', 'performance_schema', 'information_schema')";

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
    let claimed: boolean | null = null;
    add('BEGIN');
    for (const sql of claim({ ...witness, row: { ...witness.row, node: null } }, link.node)) {
      add(sql, { ok: ({ affectedRows }) => (claimed = affectedRows === 1n) });
    }
    add('COMMIT', { ok: () => (told = claimed === true ? 'not-executed' : claimed === false ? 'executed' : 'untold') });
  }
  // MySQL logs what such a table keeps under the chosen GTID at once.
  if (flavor === 'mariadb') add(UNCOVERED, { row: (row) => (covered = row?.values[0] === '0') });
  const timer = setTimeout(() => link.lose({ kind: 'closed', detail: 'no answer in time' }), Math.max(1, timeoutMs));
  runQuietly(link, commands, (result) => {
    clearTimeout(timer);
    if (result.kind === 'lost') return callback({ kind: 'lost', loss: result.loss });
    // Of several that had to succeed one did not: what the others told stands on nothing.
    if (result.kind === 'error') told = 'untold';
    callback({ kind: 'told', told, covered });
  });
}
