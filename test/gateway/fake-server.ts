// A server that lets everyone in and answers every command with OK: enough to see what the data plane does with its
// connections. A test may hold logins back, refuse them, break connections, and say what an answer tells.
import net from 'node:net';
import { type Connect, type LoginProfile, ServerConnection } from '../../src/gateway/server-connection.ts';
import {
  Capability,
  type ErrPacket,
  encodeErr,
  encodeGreeting,
  frame,
  PacketReader,
  plainOk,
} from '../../src/wire/index.ts';

export interface FakeConnection {
  id: number;
  /** Command packets, as they came. */
  commands: Buffer[];
  /** How often commands came: all that were on their way at a time are one flight. */
  flights: number;
  open: boolean;
  /** Ends a login that is held back, or would be when it comes. */
  letIn(): void;
  break(): void;
}

const CAPABILITIES =
  (Capability.PROTOCOL_41 |
    Capability.TRANSACTIONS |
    Capability.SECURE_CONNECTION |
    Capability.PLUGIN_AUTH |
    Capability.SESSION_TRACK |
    Capability.QUERY_ATTRIBUTES |
    Capability.DEPRECATE_EOF) >>>
  0;

const AUTOCOMMIT = 2;

type Told = number | ErrPacket | { value: string };

/** Columns, a definition of nothing but lengths of none, the row, the end. */
function result(value: string): Buffer {
  const definition = Buffer.alloc(6 + 1 + 12);
  definition[6] = 12;
  const end = plainOk(AUTOCOMMIT, CAPABILITIES);
  end[0] = 0xfe;
  const length = value.length < 251 ? [value.length] : [0xfc, value.length & 0xff, value.length >> 8];
  const row = Buffer.concat([Buffer.from(length), Buffer.from(value)]);
  return Buffer.concat([Buffer.from([1]), definition, row, end].map((payload, at) => frame(payload, at + 1)));
}

export class FakeServer {
  node = '';
  readonly connections: FakeConnection[] = [];
  /** Logins wait for `letIn`. */
  holdsLogins = false;
  refuses = false;
  mariadbCapabilities = 0;
  /** The status flags of an answer's OK, an error, or a result of one value; a promise of that is an answer that takes its time. */
  answer: (command: Buffer, connection: FakeConnection) => Told | Promise<Told> = () => AUTOCOMMIT;
  #server: net.Server;

  constructor() {
    this.#server = net.createServer((socket) => this.#serve(socket));
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.node = `127.0.0.1:${(this.#server.address() as net.AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const connection of this.connections) connection.break();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get open(): FakeConnection[] {
    return this.connections.filter((each) => each.open);
  }

  #serve(socket: net.Socket): void {
    const id = this.connections.length + 1;
    const ok = (sequence: number, status = AUTOCOMMIT): boolean =>
      socket.write(frame(plainOk(status, CAPABILITIES), sequence));
    let waits = false;
    let mayEnter = false;
    const connection: FakeConnection = {
      id,
      commands: [],
      flights: 0,
      open: true,
      letIn: () => {
        if (waits) ok(2);
        else mayEnter = true;
        waits = false;
      },
      break: () => socket.destroy(),
    };
    this.connections.push(connection);
    socket.on('error', () => {});
    socket.on('close', () => {
      connection.open = false;
    });
    const greeting = encodeGreeting({
      serverVersion: '9.9.9-fake',
      connectionId: id,
      nonce: Buffer.from('abcdefghijklmnopqrst'),
      capabilities: CAPABILITIES,
      mariadbCapabilities: this.mariadbCapabilities,
      collation: 45,
      status: 2,
      authPlugin: 'mysql_native_password',
    });
    socket.write(frame(greeting, 0));
    const reader = new PacketReader(1 << 24);
    let loggedIn = false;
    socket.on('data', (chunk: Buffer) => {
      if (loggedIn) connection.flights++;
      reader.push(chunk);
      for (let packet = reader.next(); packet !== null; packet = reader.next()) {
        if (loggedIn) {
          connection.commands.push(Buffer.from(packet.raw));
          if (packet.payload[0] === 0x01) socket.end();
          else {
            const tell = (told: Told): unknown => {
              if (typeof told === 'number') return ok(1, told);
              return socket.write('value' in told ? result(told.value) : frame(encodeErr(told), 1));
            };
            const told = this.answer(packet.payload, connection);
            if (told instanceof Promise) void told.then(tell);
            else tell(told);
          }
          continue;
        }
        loggedIn = true;
        if (this.refuses) socket.write(frame(encodeErr({ errno: 1045, sqlState: '28000', message: 'no' }), 2));
        else if (this.holdsLogins && !mayEnter) waits = true;
        else ok(2);
      }
    });
  }
}

/** An account without a password. */
export function profile(user: string): LoginProfile {
  return { user, credential: { kind: 'none' }, dialect: 0, extended: 0, collation: 45, tls: false };
}

export const connect: Connect = (node, account, events) =>
  new ServerConnection({
    node,
    profile: account,
    tls: { mode: 'off' },
    connectTimeoutMs: 1000,
    maxPacketBytes: 1 << 20,
    flusher: null,
    ...events,
  });

/** Waits for a condition, without assuming how long it takes. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
