// A client of the tests' own, for what no driver can be made to do: half packets, chosen capabilities, cursors, long
// data. It speaks the plain protocol, one packet at a time, and keeps every packet for the test to look at.
import net from 'node:net';
import tls from 'node:tls';
import type { OkPacket } from '../../src/wire/index.ts';
import {
  Capability,
  commandPacket,
  type ErrPacket,
  encodeHandshakeResponse,
  encodeSslRequest,
  frame,
  type Greeting,
  type Packet,
  PacketReader,
  parseErr,
  parseGreeting,
  parseOk,
  queryPacket,
  ServerLogin,
} from '../../src/wire/index.ts';

export interface RawLogin {
  port: number;
  user: string;
  password: string;
  database?: string;
}

const BASE =
  Capability.LONG_PASSWORD |
  Capability.LONG_FLAG |
  Capability.PROTOCOL_41 |
  Capability.TRANSACTIONS |
  Capability.SECURE_CONNECTION |
  Capability.MULTI_RESULTS |
  Capability.PS_MULTI_RESULTS |
  Capability.PLUGIN_AUTH;

/** One result of a text or binary answer; rows as the bytes they came in. */
export interface RawResult {
  columns: number;
  rows: Buffer[];
  end: OkPacket | null;
}

export class ServerSaid extends Error {
  readonly err: ErrPacket;
  constructor(err: ErrPacket) {
    super(`${err.errno} ${err.message}`);
    this.err = err;
  }
}

const PATIENCE_MS = 20_000;

export class RawClient {
  socket: net.Socket;
  greeting: Greeting | null = null;
  capabilities = 0;
  /** Sequence number of the last packet that came. */
  sequence = -1;
  closed = false;
  #reader = new PacketReader(1 << 30);
  #waiting: (() => void) | null = null;

  constructor(socket: net.Socket) {
    this.socket = socket;
    this.#attach(socket);
  }

  static async open(port: number): Promise<RawClient> {
    const socket = net.connect({ host: '127.0.0.1', port, noDelay: true });
    const client = new RawClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return client;
  }

  /** Reads the greeting. Throws ServerSaid where there is an error in its place. */
  async greet(): Promise<Greeting> {
    const first = parseGreeting((await this.packet()).payload);
    if (first.kind === 'err') throw new ServerSaid(first.err);
    this.greeting = first.greeting;
    return first.greeting;
  }

  /** Connects and logs in. `capabilities` are added to the least that makes sense. */
  static async login(
    login: RawLogin,
    {
      capabilities = 0,
      secure = false,
      oneSegment = false,
    }: { capabilities?: number; secure?: boolean; oneSegment?: boolean } = {},
  ): Promise<RawClient> {
    const client = await RawClient.open(login.port);
    const greeting = await client.greet();
    client.capabilities = (BASE | capabilities | (login.database === undefined ? 0 : Capability.CONNECT_WITH_DB)) >>> 0;
    let sequence = 1;
    if (secure) {
      client.capabilities = (client.capabilities | Capability.SSL) >>> 0;
      const request = frame(encodeSslRequest({ ...client.#head(), mariadbCapabilities: 0 }), sequence++);
      await client.#startTls(request, oneSegment);
    }
    const credential =
      login.password === ''
        ? { kind: 'none' as const }
        : { kind: 'plaintext' as const, password: Buffer.from(login.password) };
    const { nonce, authPlugin } = greeting;
    const exchange = new ServerLogin({
      user: login.user,
      credential,
      nonce,
      authPlugin,
      transport: { tls: secure, local: false },
      capabilities: client.capabilities,
    });
    const start = exchange.start();
    if (start.kind === 'fail') throw new Error(start.message);
    const database = login.database === undefined ? {} : { database: login.database };
    client.write(
      frame(encodeHandshakeResponse({ ...client.#head(), user: login.user, ...start, ...database }), sequence),
    );
    for (;;) {
      const packet = await client.packet();
      const step = exchange.step(packet.payload);
      if (step.kind === 'done') return client;
      if (step.kind === 'fail') throw step.err === null ? new Error(step.message) : new ServerSaid(step.err);
      if (step.kind === 'send') client.write(frame(step.payload, packet.lastSequence + 1));
    }
  }

  #head(): { capabilities: number; maxPacketBytes: number; collation: number } {
    return { capabilities: this.capabilities, maxPacketBytes: 1 << 30, collation: 45 };
  }

  /** `oneSegment`: the ClientHello goes into the same write as the request before it. */
  async #startTls(request: Buffer, oneSegment: boolean): Promise<void> {
    const plain = this.socket;
    plain.removeAllListeners('data');
    let transport: net.Socket = plain;
    if (oneSegment) plain.cork();
    plain.write(request);
    const secure = tls.connect({ socket: transport, rejectUnauthorized: false });
    this.socket = secure;
    this.#attach(secure);
    if (oneSegment) process.nextTick(() => setImmediate(() => plain.uncork()));
    await new Promise<void>((resolve, reject) => {
      secure.once('secureConnect', resolve);
      secure.once('error', reject);
      secure.once('close', () => reject(new Error('closed in the TLS handshake')));
    });
  }

  #attach(socket: net.Socket): void {
    socket.on('data', (chunk: Buffer) => {
      this.#reader.push(chunk);
      this.#waiting?.();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.#waiting?.();
    });
  }

  write(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  /** The next packet. Throws where the connection ends first, or nothing comes for long. */
  async packet(): Promise<Packet> {
    const packet = await this.packetOrEnd();
    if (packet === null) throw new Error('the connection was closed');
    return packet;
  }

  /** The next packet, or null where the connection ended. */
  async packetOrEnd(): Promise<Packet | null> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const packet = this.#reader.next();
      if (packet !== null) {
        this.sequence = packet.lastSequence;
        return packet;
      }
      if (this.closed) return null;
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw new Error('no packet came in time');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#waiting = () => {
          clearTimeout(timer);
          this.#waiting = null;
          resolve();
        };
      });
    }
  }

  /** Sends a command and reads one packet of its answer. Throws ServerSaid for an error. */
  async command(command: number, argument: Buffer | string = ''): Promise<Buffer> {
    this.write(commandPacket(command, argument));
    return this.answer();
  }

  async answer(): Promise<Buffer> {
    const { payload } = await this.packet();
    if (payload[0] === 0xff) throw new ServerSaid(parseErr(payload));
    return payload;
  }

  async query(sql: string): Promise<RawResult[]> {
    this.write(queryPacket(sql, this.capabilities));
    return this.results();
  }

  /** Reads a whole answer in the shape of COM_QUERY's. Throws ServerSaid. */
  async results(): Promise<RawResult[]> {
    const results: RawResult[] = [];
    for (;;) {
      const first = await this.answer();
      if (first[0] === 0x00) {
        const end = parseOk(first, this.capabilities);
        results.push({ columns: 0, rows: [], end });
        if ((end.status & 0x8) === 0) return results;
        continue;
      }
      const result: RawResult = { columns: first[0] as number, rows: [], end: null };
      results.push(result);
      for (let i = 0; i < result.columns; i++) await this.packet();
      if (!this.#deprecatesEof) {
        const eof = await this.packet();
        if (eof.payload[0] !== 0xfe || eof.payload.length !== 5) throw new Error('no EOF behind the columns');
        if ((eof.payload.readUInt16LE(3) & 0x40) !== 0) return results; // an open cursor: rows are fetched
      }
      result.end = await this.rows(result.rows);
      if ((result.end.status & 0x8) === 0) return results;
    }
  }

  /** Reads rows up to their end. */
  async rows(into: Buffer[]): Promise<OkPacket> {
    for (;;) {
      const { payload } = await this.packet();
      if (payload[0] === 0xff) throw new ServerSaid(parseErr(payload));
      if (payload[0] === 0xfe && payload.length < 0xffffff) {
        if (this.#deprecatesEof) return parseOk(payload, this.capabilities);
        if (payload.length === 5) {
          const end = { warnings: payload.readUInt16LE(1), status: payload.readUInt16LE(3) };
          return {
            ...end,
            affectedRows: 0n,
            insertId: 0n,
            info: Buffer.alloc(0),
            sessionState: Buffer.alloc(0),
            infoOffset: 5,
          };
        }
      }
      into.push(payload);
    }
  }

  get #deprecatesEof(): boolean {
    return (this.capabilities & Capability.DEPRECATE_EOF) !== 0;
  }

  /** Text values of a row. */
  static values(row: Buffer): (string | null)[] {
    const values: (string | null)[] = [];
    for (let at = 0; at < row.length; ) {
      const head = row[at++] as number;
      if (head === 0xfb) {
        values.push(null);
        continue;
      }
      let length = head;
      if (head === 0xfc) length = row.readUInt16LE((at += 2) - 2);
      else if (head === 0xfd) length = row.readUIntLE((at += 3) - 3, 3);
      else if (head === 0xfe) length = Number(row.readBigUInt64LE((at += 8) - 8));
      values.push(row.toString('utf8', at, at + length));
      at += length;
    }
    return values;
  }

  /** First value of the first row of the first result. */
  async value(sql: string): Promise<string | null> {
    const row = (await this.query(sql))[0]?.rows[0];
    if (row === undefined) throw new Error('no row');
    return RawClient.values(row)[0] ?? null;
  }

  close(): void {
    this.socket.destroy();
  }
}
