// What a binary log tells of transactions, over SQL: which tables they changed and how, and the statements where the log
// has them. Values are not told: SHOW BINLOG EVENTS does not show them. Pure; rebuild.ts reads the log.
import type { Flavor } from '../messages/index.ts';
import type { Row } from './connection.ts';
import { contains, type GtidSet, parseGtidSet } from './gtid.ts';

/** One transaction as its binary log tells it. */
export interface LoggedTransaction {
  gtid: string;
  /** The first few, shortened; of row changes only where the server logs them (annotations, `binlog_rows_query_log_events`). */
  statements: string[];
  tables: { table: string; did: ('insert' | 'update' | 'delete')[] }[];
}

const MAX_STATEMENTS = 5;
const MAX_STATEMENT_CHARS = 300;
const MAX_TABLES = 20;

const GTID = /GTID_NEXT= '([^']+)'|\bGTID (\d+-\d+-\d+)/;
const TABLE = /^table_id: (\d+) \((.+)\)/;
const ROWS = /^(Write|Update|Delete)_(?:compressed_)?rows/i;
const DID = { write: 'insert', update: 'update', delete: 'delete' } as const;
/** What only frames a transaction. */
const FRAME = /^(?:BEGIN|COMMIT|ROLLBACK)\b/i;

/** Takes the rows of SHOW BINLOG EVENTS in their order, in pieces of any size; keeps the transactions that are in `wanted`. */
export class BinlogReader {
  readonly #flavor: Flavor;
  readonly #wanted: GtidSet;
  readonly #maxTransactions: number;
  readonly found: LoggedTransaction[] = [];
  /** Of those that are wanted, kept or not. */
  count = 0;
  #current: LoggedTransaction | null = null;
  readonly #tables = new Map<string, string>();

  constructor(flavor: Flavor, wanted: GtidSet, maxTransactions: number) {
    this.#flavor = flavor;
    this.#wanted = wanted;
    this.#maxTransactions = maxTransactions;
  }

  take(rows: readonly Row[]): void {
    for (const row of rows) this.#takeOne(row['Event_type'] ?? '', row['Info'] ?? '');
  }

  #takeOne(type: string, info: string): void {
    const gtid = /^Gtid(?!_list)/i.test(type) ? GTID.exec(info) : null;
    if (gtid !== null) return this.#begin(gtid[1] ?? gtid[2] ?? '');
    if (this.#current === null) return;
    const map = TABLE.exec(info);
    if (/^Table_map/i.test(type) && map !== null) {
      if (this.#tables.size >= MAX_TABLES * 10) this.#tables.clear();
      this.#tables.set(map[1] ?? '', map[2] ?? '');
      return;
    }
    const rows = ROWS.exec(type)?.[1]?.toLowerCase() as keyof typeof DID | undefined;
    if (rows !== undefined) {
      this.#did(this.#tables.get(/table_id: (\d+)/.exec(info)?.[1] ?? '') ?? 'unknown', DID[rows]);
      return;
    }
    if (/^(?:Query|Rows_query|Annotate_rows)/i.test(type)) this.#statement(info);
  }

  #begin(gtid: string): void {
    this.#current = null;
    this.#tables.clear();
    if (!contains(this.#wanted, this.#one(gtid))) return;
    this.count++;
    if (this.found.length >= this.#maxTransactions) return;
    this.#current = { gtid, statements: [], tables: [] };
    this.found.push(this.#current);
  }

  /** A single GTID as a set; MariaDB's text would be read as all up to it. */
  #one(gtid: string): GtidSet {
    if (this.#flavor === 'mysql') return parseGtidSet('mysql', gtid);
    const [domain = '', server = '', seq = ''] = gtid.split('-');
    return new Map([[`${domain}-${server}`, [[Number(seq), Number(seq)]]]]);
  }

  #statement(info: string): void {
    const text = info
      .replace(/^# /, '')
      .replace(/\s*\/\* xid=\d+ \*\/$/, '')
      .trim();
    if (text === '' || FRAME.test(text) || this.#current === null) return;
    if (this.#current.statements.length >= MAX_STATEMENTS) return;
    const shortened = text.length > MAX_STATEMENT_CHARS ? `${text.slice(0, MAX_STATEMENT_CHARS)}…` : text;
    this.#current.statements.push(shortened);
  }

  #did(table: string, did: 'insert' | 'update' | 'delete'): void {
    const tables = this.#current?.tables ?? [];
    const entry = tables.find((each) => each.table === table);
    if (entry === undefined) {
      if (tables.length < MAX_TABLES) tables.push({ table, did: [did] });
    } else if (!entry.did.includes(did)) entry.did.push(did);
  }
}
