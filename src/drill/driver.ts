// Ordinary drivers behind one small interface, used as an application would: no option that makes failures look better. The
// MariaDB connector is not among what Evenkeel is installed with (its licence is the LGPL); where it is not there, all
// clients use mysql2.
import { connect, type Socket } from 'node:net';
import type { ConnectionConfig, Connection as MariaDbConnection } from 'mariadb';
import mysql, { type Connection as Mysql2Connection } from 'mysql2/promise';
import type { WorkloadLogin } from './workload.ts';

export type DriverName = 'mysql2' | 'mariadb';
export type Value = number | string;
export type Row = Record<string, unknown>;

export interface Answer {
  rows: Row[];
  /** 0 for what answers with rows. */
  affected: number;
}

export interface DriverConnection {
  readonly driver: DriverName;
  /** As text. */
  query(sql: string, values: readonly Value[]): Promise<Answer>;
  /** As a prepared statement, which the driver keeps. */
  execute(sql: string, values: readonly Value[]): Promise<Answer>;
  /** Called when the connection is lost while no statement is on its way; maybe then, too. */
  onLost(listener: (error: Error) => void): void;
  end(): Promise<void>;
  destroy(): void;
}

/** A new connection waits as long as a held statement would. */
const CONNECT_TIMEOUT_MS = 45_000;

type Connector = typeof import('mariadb');
let connector: Promise<Connector | null> | null = null;

/** The drivers that can be loaded here. */
export async function driversHere(): Promise<DriverName[]> {
  connector ??= import('mariadb').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ERR_MODULE_NOT_FOUND') return null;
    throw error;
  });
  return (await connector) === null ? ['mysql2'] : ['mysql2', 'mariadb'];
}

/** Without a default schema where the login names none. */
export type Login = Omit<WorkloadLogin, 'database'> & { database?: string };

export async function connectWith(driver: DriverName, login: Login): Promise<DriverConnection> {
  if (driver === 'mysql2') {
    return overMysql2(await mysql.createConnection({ ...login, connectTimeout: CONNECT_TIMEOUT_MS }));
  }
  await driversHere();
  const loaded = await connector;
  if (loaded === null) throw new Error('the MariaDB connector is not installed');
  const socket = connect({ host: login.host, port: login.port, noDelay: true });
  const options = { connectTimeout: CONNECT_TIMEOUT_MS, allowPublicKeyRetrieval: true, bigIntAsNumber: true };
  const stream: ConnectionConfig['stream'] = (callback) => callback(undefined, socket);
  return overMariaDb(await loaded.createConnection({ ...login, ...options, stream }), socket);
}

function answerOf(result: unknown): Answer {
  if (Array.isArray(result)) return { rows: result as Row[], affected: 0 };
  return { rows: [], affected: (result as { affectedRows?: number }).affectedRows ?? 0 };
}

function overMysql2(connection: Mysql2Connection): DriverConnection {
  return {
    driver: 'mysql2',
    query: async (sql, values) => answerOf((await connection.query(sql, [...values]))[0]),
    execute: async (sql, values) => answerOf((await connection.execute(sql, [...values]))[0]),
    onLost: (listener) => void connection.on('error', listener),
    end: () => connection.end(),
    destroy: () => connection.destroy(),
  };
}

/**
 * The connector's own destroy() sends a KILL over another connection while a statement is on its way, and where that fails the
 * whole process ends by an unhandled rejection: the socket is closed instead.
 */
function overMariaDb(connection: MariaDbConnection, socket: Socket): DriverConnection {
  return {
    driver: 'mariadb',
    query: async (sql, values) => answerOf(await connection.query(sql, [...values])),
    execute: async (sql, values) => answerOf(await connection.execute(sql, [...values])),
    onLost: (listener) => void connection.on('error', listener),
    end: () => connection.end(),
    destroy: () => void socket.destroy(),
  };
}
