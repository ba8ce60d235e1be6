// A server that is none: it speaks the text protocol, lets everyone in, and answers each statement with what a function
// says. For what real servers cannot be made to do, first of all to be a platform's.
import net from 'node:net';
import { Capability, encodeErr, encodeGreeting, encodeOk, frame, PacketReader, plainOk } from '../../src/wire/index.ts';
import { encodeLenencInt } from '../../src/wire/payload.ts';

/** Rows of one result, or nothing where the statement has none. Throws what the server answers as an error. */
export type Answer = (statement: string) => Record<string, string | number | null>[] | null;

const COM_QUIT = 0x01;
const COM_QUERY = 0x03;
const MORE_RESULTS = 0x0008;
const AUTOCOMMIT = 0x0002;

const CAPABILITIES =
  (Capability.PROTOCOL_41 |
    Capability.TRANSACTIONS |
    Capability.SECURE_CONNECTION |
    Capability.PLUGIN_AUTH |
    Capability.CONNECT_WITH_DB |
    Capability.LONG_PASSWORD |
    Capability.LONG_FLAG |
    Capability.FOUND_ROWS |
    Capability.ODBC |
    Capability.LOCAL_FILES |
    Capability.IGNORE_SPACE |
    Capability.INTERACTIVE |
    Capability.PS_MULTI_RESULTS |
    Capability.CONNECT_ATTRS |
    Capability.CAN_HANDLE_EXPIRED_PASSWORDS |
    Capability.QUERY_ATTRIBUTES |
    Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA |
    Capability.MULTI_STATEMENTS |
    Capability.MULTI_RESULTS |
    Capability.SESSION_TRACK |
    Capability.DEPRECATE_EOF) >>>
  0;

export class StandIn {
  port = 0;
  /** All statements that came, in order; cut at a bound. */
  readonly statements: string[] = [];
  readonly #version: string;
  readonly #answer: Answer;
  readonly #sockets = new Set<net.Socket>();
  #server: net.Server | null = null;
  #connections = 0;

  readonly #remembered: Map<string, Buffer> | null;

  /** `steady`: what was answered once is answered again without asking, as cheaply as can be. */
  constructor(version: string, answer: Answer, { steady = false }: { steady?: boolean } = {}) {
    this.#version = version;
    this.#answer = answer;
    this.#remembered = steady ? new Map() : null;
  }

  /** Listens; after `stop` at the same port. */
  async start(): Promise<void> {
    const server = net.createServer((socket) => this.#serve(socket));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.port, '127.0.0.1', resolve));
    this.port = (server.address() as net.AddressInfo).port;
  }

  /** Breaks all connections and refuses new ones, as a process that died. */
  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const server = this.#server;
    this.#server = null;
    if (server !== null) await new Promise((resolve) => server.close(resolve));
  }

  #serve(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    const greeting = encodeGreeting({
      serverVersion: this.#version,
      connectionId: ++this.#connections,
      nonce: Buffer.from('abcdefghijklmnopqrst'),
      capabilities: CAPABILITIES,
      mariadbCapabilities: 0,
      collation: 45,
      status: AUTOCOMMIT,
      authPlugin: 'mysql_native_password',
    });
    socket.write(frame(greeting, 0));
    const reader = new PacketReader(1 << 24);
    let capabilities: number | null = null;
    socket.on('data', (chunk: Buffer) => {
      reader.push(chunk);
      for (let packet = reader.next(); packet !== null; packet = reader.next()) {
        const payload = Buffer.from(packet.payload);
        if (capabilities === null) {
          capabilities = (payload.readUInt32LE(0) & CAPABILITIES) >>> 0;
          socket.write(frame(plainOk(AUTOCOMMIT, capabilities), 2));
        } else if (payload[0] === COM_QUIT) socket.end();
        else if (payload[0] === COM_QUERY) socket.write(this.#reply(statementOf(payload, capabilities), capabilities));
        else socket.write(frame(plainOk(AUTOCOMMIT, capabilities), 1));
      }
    });
  }

  #reply(sql: string, capabilities: number): Buffer {
    const known = this.#remembered?.get(sql);
    if (known !== undefined) return known;
    const reply = this.#results(sql, capabilities);
    this.#remembered?.set(sql, reply);
    return reply;
  }

  #results(sql: string, capabilities: number): Buffer {
    const statements = sql.split(';').map((one) => one.trim());
    const packets: Buffer[] = [];
    for (const [i, statement] of statements.entries()) {
      if (this.statements.length < 100_000) this.statements.push(statement);
      const status = AUTOCOMMIT | (i + 1 < statements.length ? MORE_RESULTS : 0);
      try {
        packets.push(...result(this.#answer(statement), status, capabilities));
      } catch (error) {
        const { errno = 1064, message } = error as Error & { errno?: number };
        packets.push(encodeErr({ errno, sqlState: 'HY000', message }));
        break; // the rest of the bundle is not executed
      }
    }
    return Buffer.concat(packets.map((payload, i) => frame(payload, (i + 1) & 0xff)));
  }
}

/** Behind the command, and behind the counts of attributes where these are spoken; none of ours has any. */
function statementOf(payload: Buffer, capabilities: number): string {
  return payload.toString('utf8', (capabilities & Capability.QUERY_ATTRIBUTES) === 0 ? 1 : 3);
}

const NONE = Buffer.alloc(0);
const ended = { affectedRows: 0n, insertId: 0n, warnings: 0, info: NONE, sessionState: NONE };

function result(rows: ReturnType<Answer>, status: number, capabilities: number): Buffer[] {
  if (rows === null) return [plainOk(status, capabilities)];
  const names = Object.keys(rows[0] ?? { none: '' });
  const short = (capabilities & Capability.DEPRECATE_EOF) !== 0;
  const eof = Buffer.from([0xfe, 0, 0, status & 0xff, status >> 8]);
  return [
    encodeLenencInt(names.length),
    ...names.map(column),
    ...(short ? [] : [eof]),
    ...rows.map((row) => Buffer.concat(names.map((name) => cell(row[name] ?? null)))),
    short ? encodeOk({ ...ended, status }, capabilities, 0xfe) : eof,
  ];
}

const text = (value: string): Buffer => Buffer.concat([encodeLenencInt(Buffer.byteLength(value)), Buffer.from(value)]);

const cell = (value: string | number | null): Buffer => (value === null ? Buffer.from([0xfb]) : text(String(value)));

/** A column of type VAR_STRING. */
function column(name: string): Buffer {
  const fixed = Buffer.alloc(13);
  fixed[0] = 0x0c;
  fixed.writeUInt16LE(45, 1);
  fixed.writeUInt32LE(1024, 3);
  fixed[7] = 0xfd;
  return Buffer.concat([text('def'), text(''), text(''), text(''), text(name), text(name), fixed]);
}
