// One control connection to one node, for probes and recovery; never for clients' data. Every wait is bounded:
// past its time a query rejects and the socket is destroyed, because an answer that comes late must not be
// taken for the answer to something else. Errors carry the server's words, never a password.

import type { Connection, ConnectionOptions, FieldPacket } from 'mysql2';
import mysql from 'mysql2';
import { type NodeAddress, type ServerTlsSettings, splitAddress } from '../messages/index.ts';
import type { Reach, ServerGreeting } from './types.ts';

/** One row; every value is a string or null. */
export type Row = Record<string, string | null>;

export interface ConnectSettings {
  node: NodeAddress;
  user: string;
  password: string;
  tls: ServerTlsSettings;
}

export type ConnectionErrorCode =
  | 'timeout'
  | 'refused'
  | 'unreachable'
  | 'lost'
  /** The server answered with an error packet: see errno. */
  | 'server'
  /** TLS or the protocol failed. */
  | 'protocol';

/** Why a control connection could not be made, broke, or a statement on it failed. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
  readonly node: NodeAddress;
  readonly code: ConnectionErrorCode;
  /** The server's error number; 0 where it sent none. */
  readonly errno: number;

  constructor(node: NodeAddress, code: ConnectionErrorCode, errno: number, message: string) {
    super(message);
    this.node = node;
    this.code = code;
    this.errno = errno;
  }
}

function describe(error: unknown): { code: string; errno: number; text: string } {
  if (!(error instanceof Error)) return { code: '', errno: 0, text: String(error) };
  const { code, errno } = error as { code?: unknown; errno?: unknown };
  return {
    code: typeof code === 'string' ? code : '',
    errno: typeof errno === 'number' ? errno : 0,
    // Node's AggregateError (several addresses of one name) has no text of its own.
    text: error.message === '' && error instanceof AggregateError ? String(error.errors[0]) : error.message,
  };
}

const UNREACHABLE = new Set(['ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN']);

function toConnectionError(node: NodeAddress, error: unknown): ConnectionError {
  if (error instanceof ConnectionError) return error;
  const { code, errno, text } = describe(error);
  const make = (kind: ConnectionErrorCode): ConnectionError => new ConnectionError(node, kind, 0, text);
  if (code === 'ECONNREFUSED') return make('refused');
  if (code === 'ETIMEDOUT') return make('timeout');
  if (UNREACHABLE.has(code)) return make('unreachable');
  if (code === 'ECONNRESET' || code === 'EPIPE' || code === 'PROTOCOL_CONNECTION_LOST') return make('lost');
  // Numbers below 1000 and above 10000 are not the server's; negative ones are libuv's.
  if (errno >= 1000 && errno < 20_000) return new ConnectionError(node, 'server', errno, text);
  if (code.startsWith('ERR_') || code === 'HANDSHAKE_SSL_ERROR' || code === 'HANDSHAKE_NO_SSL_SUPPORT')
    return make('protocol');
  return make(/closed|lost|reset/i.test(text) ? 'lost' : 'protocol');
}

/** What a failed attempt says about the node. */
export function reachOf(error: unknown): Exclude<Reach, { state: 'up' }> {
  const known = error instanceof ConnectionError ? error : new ConnectionError('', 'protocol', 0, String(error));
  if (known.code === 'refused') return { state: 'refused', error: known.message };
  // With `protocol` it spoke, though nothing that we could use.
  const spoke = known.code === 'server' || known.code === 'protocol';
  return spoke
    ? { state: 'denied', errno: known.errno, error: known.message }
    : { state: 'silent', error: known.message };
}

function sslOptions(tls: ServerTlsSettings): ConnectionOptions['ssl'] {
  if (tls.mode === 'off') return undefined;
  if (tls.mode === 'as-client' || tls.mode === 'preferred' || tls.mode === 'required')
    return { rejectUnauthorized: false };
  return {
    rejectUnauthorized: true,
    verifyIdentity: tls.mode === 'verify-identity',
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
  };
}

/** mysql2 hands the greeting to whoever listens for `connect`, and its types do not tell. */
function greetingOf(packet: unknown): ServerGreeting | null {
  const { serverVersion, characterSet } = (packet ?? {}) as { serverVersion?: unknown; characterSet?: unknown };
  if (typeof serverVersion !== 'string' || serverVersion === '' || typeof characterSet !== 'number') return null;
  return { version: serverVersion, collation: characterSet & 0xff };
}

/** An open connection. Statements run one after another in the order in which they were given. */
export class ControlConnection {
  readonly node: NodeAddress;
  /** Null where the driver did not tell. */
  readonly greeting: ServerGreeting | null;
  readonly #connection: Connection;
  /** Of statements that wait for their answer: the driver forgets them where a connection is destroyed. */
  readonly #waiting = new Set<(error: ConnectionError) => void>();
  #closed: ConnectionError | null = null;
  #onClose: ((error: ConnectionError) => void) | null = null;

  private constructor(node: NodeAddress, connection: Connection, greeting: ServerGreeting | null) {
    this.node = node;
    this.greeting = greeting;
    this.#connection = connection;
    connection.on('error', (error: unknown) => this.#end(toConnectionError(node, error)));
    connection.on('end', () => this.#end(new ConnectionError(node, 'lost', 0, 'the server closed the connection')));
  }

  /**
   * Connects and logs in within `timeoutMs`. Rejects with a ConnectionError. With TLS `preferred` a server that
   * has none is asked again without.
   */
  static async open(settings: ConnectSettings, timeoutMs: number): Promise<ControlConnection> {
    const startedAt = performance.now();
    try {
      return await ControlConnection.#attempt(settings, sslOptions(settings.tls), timeoutMs);
    } catch (error) {
      const noTls =
        (settings.tls.mode === 'preferred' || settings.tls.mode === 'as-client') &&
        error instanceof ConnectionError &&
        error.code === 'protocol';
      const left = timeoutMs - (performance.now() - startedAt);
      if (!noTls || left <= 0) throw error;
      return await ControlConnection.#attempt(settings, undefined, left);
    }
  }

  static async #attempt(
    settings: ConnectSettings,
    ssl: ConnectionOptions['ssl'],
    timeoutMs: number,
  ): Promise<ControlConnection> {
    const { host, port } = splitAddress(settings.node);
    const connection = mysql.createConnection({
      host,
      port,
      user: settings.user,
      password: settings.password,
      connectTimeout: timeoutMs,
      enableKeepAlive: true,
      multipleStatements: true,
      trace: false,
      // The driver makes room for so many at once, half a megabyte for its 16,000; none is prepared here.
      maxPreparedStatements: 1,
      // As bytes, which become text below: 64-bit numbers and timestamps stay what the server said. A function here would get an
      // object for every column of every answer.
      typeCast: false,
      connectAttributes: { program_name: 'evenkeel' },
      ...(ssl === undefined ? {} : { ssl }),
    });
    let greeting: ServerGreeting | null = null;
    connection.once('connect', (packet: unknown) => {
      greeting = greetingOf(packet);
    });
    return await new Promise<ControlConnection>((resolve, reject) => {
      const timer = setTimeout(() => {
        finish(new ConnectionError(settings.node, 'timeout', 0, `no connection within ${Math.round(timeoutMs)} ms`));
      }, timeoutMs);
      const finish = (error: unknown): void => {
        clearTimeout(timer);
        connection.removeAllListeners('error');
        if (error === null) {
          resolve(new ControlConnection(settings.node, connection, greeting));
          return;
        }
        connection.on('error', () => {}); // what a destroyed socket still says
        connection.destroy();
        reject(toConnectionError(settings.node, error));
      };
      connection.once('error', finish);
      connection.connect((error: unknown) => finish(error ?? null));
    });
  }

  /** Null while it is usable. */
  get closed(): ConnectionError | null {
    return this.#closed;
  }

  /** The server's id of this connection. */
  get id(): number {
    return this.#connection.threadId;
  }

  /** Called once, when the connection breaks or is destroyed by a timeout; not after `close`. */
  set onClose(callback: (error: ConnectionError) => void) {
    this.#onClose = callback;
  }

  #end(error: ConnectionError): void {
    if (this.#closed !== null) return;
    this.#closed = error;
    this.#connection.destroy();
    const callback = this.#onClose;
    this.#onClose = null;
    for (const fail of this.#waiting) fail(error);
    callback?.(error);
  }

  close(): void {
    this.#onClose = null;
    this.#end(new ConnectionError(this.node, 'lost', 0, 'closed by us'));
  }

  /**
   * Runs one statement, or several with `;` between, in one round trip: the rows of each. Rejects with a
   * ConnectionError, at once where the connection ends.
   */
  async queryAll(sql: string, timeoutMs: number): Promise<Row[][]> {
    return await this.#answered<Row[][]>(timeoutMs, (done, failed) => {
      this.#connection.query(sql, (error: unknown, result: unknown, columns: unknown) => {
        if (error !== null && error !== undefined) failed(error);
        else done(resultSets(result, columns));
      });
    });
  }

  /** Resolves where the server answers at all: the cheapest thing that can be asked of it (COM_PING). Rejects as `queryAll`. */
  async ping(timeoutMs: number): Promise<void> {
    await this.#answered<void>(timeoutMs, (done, failed) => {
      this.#connection.ping((error: unknown) => {
        if (error !== null && error !== undefined) failed(error);
        else done();
      });
    });
  }

  async #answered<T>(
    timeoutMs: number,
    send: (done: (value: T) => void, failed: (error: unknown) => void) => void,
  ): Promise<T> {
    if (this.#closed !== null) throw this.#closed;
    return await new Promise<T>((resolve, reject) => {
      let settled = false;
      const settle = (action: () => void): void => {
        if (settled) return;
        settled = true;
        clearTimeout(timer);
        this.#waiting.delete(fail);
        action();
      };
      const fail = (error: ConnectionError): void => settle(() => reject(error));
      this.#waiting.add(fail);
      const timer = setTimeout(() => {
        this.#end(new ConnectionError(this.node, 'timeout', 0, `no answer within ${Math.round(timeoutMs)} ms`));
      }, timeoutMs);
      send(
        (value) => settle(() => resolve(value)),
        (error) => settle(() => reject(toConnectionError(this.node, error))),
      );
    });
  }

  /** The rows of one statement. */
  async query(sql: string, timeoutMs: number): Promise<Row[]> {
    return (await this.queryAll(sql, timeoutMs))[0] ?? [];
  }

  /** A value as an SQL literal. */
  quote(value: string | number): string {
    return mysql.escape(value);
  }
}

type Column = Pick<FieldPacket, 'name' | 'encoding'>;
type RawRow = Record<string, Buffer | null>;

/** mysql2 answers with rows for one statement, a list of rows or headers for several; with the columns alike. */
function resultSets(result: unknown, columns: unknown): Row[][] {
  if (!Array.isArray(result)) return [[]];
  const several = result.some((part) => Array.isArray(part) || (part as object).constructor.name === 'ResultSetHeader');
  if (!several) return [rowsOf(result as RawRow[], columns as Column[])];
  return result.map((part, at) =>
    Array.isArray(part) ? rowsOf(part as RawRow[], (columns as Column[][])[at] ?? []) : [],
  );
}

/** All but what has no character set comes in UTF-8. */
function rowsOf(rows: readonly RawRow[], columns: readonly Column[]): Row[] {
  const known = columns.map(({ name, encoding }) => ({ name, as: encoding === 'binary' ? 'latin1' : 'utf8' }) as const);
  return rows.map((row) => {
    const texts: Row = {};
    for (const { name, as } of known) texts[name] = row[name]?.toString(as) ?? null;
    return texts;
  });
}
