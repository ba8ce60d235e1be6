// What tells, after a crash, whether a transaction was committed: on MySQL the GTID that we chose for it, on MariaDB the
// number that it wrote into a row of `evenkeel.ledger` as the last thing before its commit. A witness is for one commit.
//
// A GTID that certainly was not used is used again. One in doubt never is: the transaction that is run again gets a number
// of its own, so that a server that comes back with the first one executed is seen to have what its primary has not. Once every
// server is back and none has it, it is closed with nothing under it (holes.ts).
import { randomBytes } from 'node:crypto';
import {
  CHOSEN_UUID_PREFIX,
  type Flavor,
  type GroupKind,
  type NodeAddress,
  type RouteNode,
} from '../../messages/index.ts';
import type { LoginProfile, ServerConnection } from '../server-connection.ts';
import type { Told } from './course.ts';

export type Witness =
  | { kind: 'gtid'; number: number; gtid: string }
  /** The number is even; the one after it says that the transaction came too late. */
  | { kind: 'ledger'; row: LedgerRow; number: number };

interface LedgerRow {
  readonly id: string;
  /** Of its last use. */
  number: number;
  /** Where the row is known to be. */
  node: NodeAddress | null;
}

/** Numbers that were given back, and those that were abandoned; more than that are forgotten, and leave holes. */
const MAX_FREE = 10_000;
const MAX_ABANDONED = 10_000;

/** One worker's, of one cluster. */
export class Witnesses {
  readonly #uuid: string;
  readonly #ledger: string;
  #nextGtid = 1;
  #freeGtids: number[] = [];
  /** Never free again. With the nodes of which any may have executed it. */
  readonly #abandoned = new Map<number, readonly RouteNode[]>();
  /** An account that may choose GTIDs. */
  abandonedBy: LoginProfile | null = null;
  readonly #nodes: () => readonly RouteNode[];
  #nextRow = 0;
  #freeRows: LedgerRow[] = [];

  /** `nodes`: of the cluster, now. */
  constructor(nodes: () => readonly RouteNode[] = () => [], random: (bytes: number) => Buffer = randomBytes) {
    this.#nodes = nodes;
    const hex = random(12).toString('hex');
    const parts = [hex.slice(0, 4), `4${hex.slice(4, 7)}`, `a${hex.slice(7, 10)}`, hex.slice(10, 22)];
    this.#uuid = [CHOSEN_UUID_PREFIX, ...parts].join('-');
    this.#ledger = random(12).toString('hex');
  }

  take(flavor: Flavor): Witness {
    if (flavor === 'mysql') {
      const number = this.#freeGtids.pop() ?? this.#nextGtid++;
      return { kind: 'gtid', number, gtid: `${this.#uuid}:${number}` };
    }
    // The one that was not used for longest: what replicas apply side by side must not meet in one row.
    const row = this.#freeRows.shift() ?? this.#newRow();
    row.number += 2;
    return { kind: 'ledger', row, number: row.number };
  }

  #newRow(): LedgerRow {
    const index = (this.#nextRow++ >>> 0).toString(16).padStart(8, '0');
    return { id: `X'${this.#ledger}${index}'`, number: 0, node: null };
  }

  /** It has done its work, or was never used. Not for what is in doubt. */
  giveBack(witness: Witness, fate: 'unused' | 'used'): void {
    if (witness.kind === 'ledger') this.#freeRows.push(witness.row);
    else if (fate === 'unused' && this.#freeGtids.length < MAX_FREE && !this.#abandoned.has(witness.number)) {
      this.#freeGtids.push(witness.number);
    }
  }

  /** MySQL: nobody will use it any more, and nobody knows whether somebody has. `profile`: who had it. */
  abandon(witness: Witness, profile: LoginProfile): void {
    this.abandonedBy = profile;
    if (witness.kind !== 'gtid' || this.#abandoned.size >= MAX_ABANDONED) return;
    if (!this.#freeGtids.includes(witness.number)) this.#abandoned.set(witness.number, this.#nodes());
  }

  /** A set of GTIDs of at most `count` that were abandoned when no others than `nodes` were there, as servers read it; empty: there are none. */
  abandoned(nodes: ReadonlySet<NodeAddress>, count: number): string {
    const numbers: number[] = [];
    for (const [number, then] of this.#abandoned) {
      if (numbers.length < count && then.every(({ node }) => nodes.has(node))) numbers.push(number);
    }
    return numbers.length === 0 ? '' : `${this.#uuid}:${numbers.sort((a, b) => a - b).join(':')}`;
  }

  /** The numbers of a set of our GTIDs. */
  numbersOf(set: string): Witness[] {
    return intervalsOf(set).flatMap(([first, last]) =>
      Array.from({ length: last - first + 1 }, (_, at): Witness => {
        const number = first + at;
        return { kind: 'gtid', number, gtid: `${this.#uuid}:${number}` };
      }),
    );
  }

  /** Of the abandoned ones in `asked`, those that are not in `left` are used, here and everywhere. */
  settle(asked: string, left: string): void {
    const open = new Set(this.numbersOf(left).map(numberOf));
    for (const number of this.numbersOf(asked).map(numberOf)) if (!open.has(number)) this.#abandoned.delete(number);
  }
}

const numberOf = ({ number }: Witness): number => number;

/** Of one source: `UUID:1-3:7`, as servers write it. */
function intervalsOf(set: string): [first: number, last: number][] {
  const [, ...parts] = set.trim().split(':');
  return parts.map((part) => {
    const [first = 0, last = first] = part.split('-').map(Number);
    return [first, last];
  });
}

/**
 * MySQL. `tracks`: the server tells whether the transaction writes, which its texts may hide (a view may call a function). A
 * transaction that wrote nothing would use its number up, and log an empty transaction, so it does not end by COMMIT.
 */
export function chooseGtid(witness: Witness, tracks: boolean): string {
  if (witness.kind !== 'gtid') throw new Error('a ledger row is no GTID');
  return `SET gtid_next='${witness.gtid}'${tracks ? ", session_track_transaction_info='STATE'" : ''}`;
}

export function putGtidAway(tracks: boolean): string {
  return `SET gtid_next='AUTOMATIC'${tracks ? ", session_track_transaction_info='OFF'" : ''}`;
}

/** MySQL: one column, whether the server has executed what was committed under it. */
export function wasExecuted({ gtid }: Extract<Witness, { kind: 'gtid' }>): string {
  return `SELECT GTID_SUBSET('${gtid}', @@global.gtid_executed) LIMIT 1`;
}

/** MariaDB: the last thing of the transaction and its commit, or none of both. One text, so that nothing comes in between. */
export function commitWithLedger(witness: Witness, link: Pick<ServerConnection, 'node'>): string {
  const [commit, rollback] = [verb('COMMIT'), verb('ROLLBACK')];
  const body = `${claim(witness, link.node).join('; ')}; IF ROW_COUNT() = 1 THEN ${commit}; ELSE ${rollback}; ${RAISE}; END IF`;
  return `BEGIN NOT ATOMIC ${body}; END`;
}

/** Ends a transaction and nothing else, whatever the session, or its server, says of what is to follow that (completion_type). */
export function verb(what: 'COMMIT' | 'ROLLBACK'): string {
  return `${what} AND NO CHAIN NO RELEASE`;
}

/** The ledger's row was not as it should be: the transaction was rolled back. */
export const NOT_CLAIMED = 1222;
/**
 * That error, which nothing else in the text can have. Not by SIGNAL: where collation_connection is one of ucs2, utf16 or utf32
 * MariaDB takes no SQLSTATE that is written down.
 */
const RAISE = 'SELECT 1 UNION SELECT 1, 2';

/** The number becomes the row's, if no higher one is: whoever affects one row by the last of these was first. */
export function claim(witness: Witness, node: NodeAddress): string[] {
  const { row } = rowOf(witness);
  const update = claimAs(witness, witness.number);
  return row.node === node ? [update] : [newRow(row), update];
}

/**
 * MariaDB: whether a transaction was committed. Where it was not the row is claimed in its place, so that a commit that is
 * still on its way to a server that lives comes too late; and whoever has asked and got no answer may ask again. All of it is
 * one transaction: the claims, of which any may fail, and then what the row has, see toldBy, which counts if its COMMIT succeeds.
 */
export function questionOf(witness: Witness): { claims: string[]; read: string } {
  const { row } = rowOf(witness);
  const claims = [newRow(row), claimAs(witness, witness.number + 1)];
  return { claims, read: `SELECT n FROM evenkeel.ledger WHERE id=${row.id} LIMIT 1` };
}

/** `n`: what the row has; null where there is none. */
export function toldBy(witness: Witness, n: string | null): Told {
  if (n === String(witness.number)) return 'executed';
  return n === String(witness.number + 1) ? 'not-executed' : 'untold';
}

function rowOf(witness: Witness): Extract<Witness, { kind: 'ledger' }> {
  if (witness.kind !== 'ledger') throw new Error('a GTID has no row');
  return witness;
}

function newRow({ id }: LedgerRow): string {
  return `INSERT IGNORE INTO evenkeel.ledger (id, n) VALUES (${id}, 0)`;
}

function claimAs(witness: Witness, n: number): string {
  const { row, number } = rowOf(witness);
  return `UPDATE evenkeel.ledger SET n=${n} WHERE id=${row.id} AND n<${number}`;
}

/** One column: whether the server is a member of a group as `group` says. The question to ask of it depends on that. */
export function isAsSaid(flavor: Flavor, group: GroupKind | null): string {
  const member =
    flavor === 'mysql'
      ? "SELECT 1 FROM performance_schema.global_variables WHERE variable_name='group_replication_group_name' AND variable_value<>''"
      : "SELECT 1 FROM information_schema.global_variables WHERE variable_name='WSREP_ON' AND variable_value='ON'";
  return `SELECT IF(EXISTS (${member}), ${group === null ? '0, 1' : '1, 0'})`;
}

/** Tells whether an account may use witnesses, and changes nothing. The last one's first column tells, where all succeed. */
export function probe(flavor: Flavor, group: GroupKind | null): string[] {
  const asSaid = isAsSaid(flavor, group);
  if (flavor === 'mysql') {
    // A transaction that waits for its group at its beginning cannot have a GTID that was chosen (3797).
    const waits = "@@session.group_replication_consistency IN ('BEFORE', 'BEFORE_AND_AFTER')";
    const may = group === 'group' ? ` AND NOT ${waits}` : '';
    return [putGtidAway(false), `SELECT @@global.gtid_mode='ON' AND (${asSaid})${may}`];
  }
  return [
    "INSERT INTO evenkeel.ledger (id, n) SELECT X'00', 0 FROM DUAL WHERE FALSE",
    "UPDATE evenkeel.ledger SET n=n WHERE id=X'00'",
    'ROLLBACK', // with autocommit off it has begun a transaction
    asSaid,
  ];
}
