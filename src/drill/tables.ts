// The tables of a drill and what its clients say to them. Every write puts its client and number into the book, in the
// same transaction; nothing is unique there, so that what is applied twice can be seen. Balances, lengths and positions are
// computed by the clients from what they read, as applications do: a transaction that goes on with what is not true any
// more spoils them.
import { type Answer, connectWith, type Row, type Value } from './driver.ts';
import type { WorkloadLogin } from './workload.ts';

export const ACCOUNTS = 12;
export const LISTS = 4;
export const OPENING_BALANCE = 1000;
/** Reads look at the last few entries of a list. */
export const TAIL = 5;

const PREFIX = 'evenkeel_drill';
const BOOK = `${PREFIX}_book`;
const ACCOUNT = `${PREFIX}_accounts`;
const TRANSFER = `${PREFIX}_transfers`;
const LIST = `${PREFIX}_lists`;
const ENTRY = `${PREFIX}_entries`;

/** All of them; they belong to the drill. */
export const TABLES = [BOOK, ACCOUNT, TRANSFER, LIST, ENTRY];

/** A session variable that each client sets to a value of its own, and must find unchanged ever after. */
export const MARK = 'group_concat_max_len';
export const MARK_BASE = 100_000;

export const SQL = {
  write: `INSERT INTO ${BOOK} (client, n, body) VALUES (?, ?, ?)`,
  own: `SELECT n, body, @@SESSION.${MARK} AS mine FROM ${BOOK} WHERE client = ? AND n IN (?, ?)`,
  total: `SELECT COUNT(*) AS accounts, SUM(balance) AS total FROM ${ACCOUNT}`,
  balance: `SELECT balance FROM ${ACCOUNT} WHERE id = ? FOR UPDATE`,
  setBalance: `UPDATE ${ACCOUNT} SET balance = ? WHERE id = ?`,
  transfer: `INSERT INTO ${TRANSFER} (client, n, source, target, amount) VALUES (?, ?, ?, ?, ?)`,
  length: `SELECT length FROM ${LIST} WHERE id = ? FOR UPDATE`,
  setLength: `UPDATE ${LIST} SET length = ? WHERE id = ?`,
  append: `INSERT INTO ${ENTRY} (list, position, client, n) VALUES (?, ?, ?, ?)`,
  list: `SELECT length, (SELECT MAX(position) FROM ${ENTRY} WHERE list = ${LIST}.id) AS last FROM ${LIST} WHERE id = ?`,
  tail: `SELECT position FROM ${ENTRY} WHERE list = ? ORDER BY position DESC LIMIT ${TAIL}`,
} as const;

export type Ask = (sql: string, values?: readonly Value[]) => Promise<Answer>;

export async function makeTables(ask: Ask): Promise<void> {
  await dropTables(ask);
  const who = 'client INT NOT NULL, n INT NOT NULL';
  const id = 'id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY';
  const create = (table: string, columns: string): Promise<Answer> =>
    ask(`CREATE TABLE ${table} (${columns}) ENGINE=InnoDB`);
  await create(BOOK, `${id}, ${who}, body VARCHAR(100) NOT NULL, KEY (client, n)`);
  await create(ACCOUNT, 'id INT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL');
  await create(TRANSFER, `${id}, ${who}, source INT NOT NULL, target INT NOT NULL, amount INT NOT NULL`);
  await create(LIST, 'id INT NOT NULL PRIMARY KEY, length INT NOT NULL');
  await create(ENTRY, `${id}, list INT NOT NULL, position INT NOT NULL, ${who}, KEY (list, position)`);
  const several = (count: number, value: number): string =>
    Array.from({ length: count }, (_, index) => `(${index}, ${value})`).join(', ');
  await ask(`INSERT INTO ${ACCOUNT} VALUES ${several(ACCOUNTS, OPENING_BALANCE)}`);
  await ask(`INSERT INTO ${LIST} VALUES ${several(LISTS, 0)}`);
}

async function dropTables(ask: Ask): Promise<void> {
  await ask(`DROP TABLE IF EXISTS ${TABLES.join(', ')}`);
}

/** What all of it is at the end. Everything is a number, whatever the driver made of it. */
export interface Holdings {
  /** Client → number → times. */
  book: Map<number, Map<number, number>>;
  accounts: { id: number; balance: number }[];
  transfers: { client: number; n: number; source: number; target: number; amount: number }[];
  lists: { id: number; length: number; entries: { position: number; client: number; n: number }[] }[];
}

export async function readHoldings(ask: Ask): Promise<Holdings> {
  const book = new Map<number, Map<number, number>>();
  // A client at a time, so that a long run's rows are not all in memory at once as rows.
  for (const { client } of numbers(await ask(`SELECT DISTINCT client FROM ${BOOK}`), 'client')) {
    const counted = await ask(`SELECT n, COUNT(*) AS times FROM ${BOOK} WHERE client = ? GROUP BY n`, [client]);
    book.set(client, new Map(numbers(counted, 'n', 'times').map(({ n, times }) => [n, times])));
  }
  const accounts = numbers(await ask(`SELECT id, balance FROM ${ACCOUNT}`), 'id', 'balance');
  const told = await ask(`SELECT client, n, source, target, amount FROM ${TRANSFER}`);
  const transfers = numbers(told, 'client', 'n', 'source', 'target', 'amount');
  const lists: Holdings['lists'] = [];
  for (const { id, length } of numbers(await ask(`SELECT id, length FROM ${LIST}`), 'id', 'length')) {
    const entries = await ask(`SELECT position, client, n FROM ${ENTRY} WHERE list = ? ORDER BY position, id`, [id]);
    lists.push({ id, length, entries: numbers(entries, 'position', 'client', 'n') });
  }
  return { book, accounts, transfers, lists };
}

function numbers<K extends string>({ rows }: Answer, ...columns: K[]): Record<K, number>[] {
  return rows.map((row) => Object.fromEntries(columns.map((column) => [column, numberOf(row, column)]))) as Record<
    K,
    number
  >[];
}

/** Sums come as text, big numbers as whatever the driver likes. */
export function numberOf(row: Row | undefined, column: string): number {
  const value = row?.[column];
  return value === null || value === undefined ? Number.NaN : Number(value);
}

/** Rejects where it is there already: what somebody else keeps is not the drill's. */
export async function makeSchema(login: Omit<WorkloadLogin, 'database'>, schema: string): Promise<void> {
  await withoutSchema(login, (ask) => ask(`CREATE DATABASE ${schema}`));
}

export async function dropSchema(login: Omit<WorkloadLogin, 'database'>, schema: string): Promise<void> {
  await withoutSchema(login, (ask) => ask(`DROP DATABASE ${schema}`));
}

async function withoutSchema(
  login: Omit<WorkloadLogin, 'database'>,
  work: (ask: Ask) => Promise<unknown>,
): Promise<void> {
  const connection = await connectWith('mysql2', login);
  try {
    await work((sql, values = []) => connection.query(sql, values));
  } finally {
    connection.destroy();
  }
}
