// What no client should send, and what no server should answer: each ends one connection, with an error and within
// bounds of memory and time, while the neighbour on the same worker goes on.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import { test } from 'node:test';
import tls from 'node:tls';
import mysql from 'mysql2/promise';
import { type Loss, ServerConnection } from '../../src/gateway/server-connection.ts';
import { Command, commandPacket, encodeGreeting, frame, plainOk } from '../../src/wire/index.ts';
import { seed } from '../seed.ts';
import { type Evenkeel, until, withEvenkeel } from './harness/index.ts';
import { RawClient, ServerSaid } from './raw-client.ts';

interface Stage {
  t: test.TestContext;
  ek: Evenkeel;
  /** A well-behaved client of the same worker. */
  neighbour: () => Promise<void>;
}

type Rows = mysql.RowDataPacket[];
const MIB = 1024 * 1024;

test('bad input on the port', { timeout: 120_000 }, async (t) => {
  const config = 'limits: { handshakeTimeout: 3s, maxUnauthenticated: 500 }\nlog: { level: debug }';
  await withEvenkeel({ flavor: 'mariadb', replication: 'async', nodes: 1, workers: 1, config }, async (ek) => {
    const client = await mysql.createConnection(ek.login());
    await client.query('SET @kept = 7');
    const neighbour = async (): Promise<void> => {
      const [rows] = await client.query<Rows>('SELECT @kept AS kept');
      assert.equal(rows[0]?.['kept'], 7);
    };
    const [pid = 0] = await ek.workerPids();
    const before = await residentBytes(pid);
    const stage: Stage = { t, ek, neighbour };
    await beforeLogin(stage);
    await afterLogin(stage);
    await crowds(stage);
    await fuzz(stage);
    await neighbour();
    await t.test('the log has a line for each kind of end, and no bytes that a client sent', () => {
      for (const line of [
        /client closed: Bad handshake/,
        /client closed: Got packets out of order/,
        /client closed: Got timeout/,
      ]) {
        assert.match(ek.output, line);
      }
      assert.doesNotMatch(ek.output, /GET \/ HTTP|SSH-2\.0/);
    });
    await t.test('the worker lives, its memory is bounded, and nobody is left behind', async () => {
      assert.deepEqual(await ek.workerPids(), [pid]);
      const grown = (await residentBytes(pid)) - before;
      assert.ok(grown < 150 * MIB, `grew by ${grown} bytes`);
      await until('the connections to be gone', 15_000, async () => (await ek.status()).endpoints[0]?.clients === 1);
    });
    await client.end();
  });
});

/** Resolves when the other side ended the connection, with what it said. */
function said(socket: net.Socket, timeoutMs = 10_000): Promise<Buffer> {
  const chunks: Buffer[] = [];
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the connection was left open')), timeoutMs);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks));
    });
  });
}

function open(ek: Evenkeel): net.Socket {
  return net.connect({ host: '127.0.0.1', port: ek.ports.writer, noDelay: true });
}

async function beforeLogin({ t, ek, neighbour }: Stage): Promise<void> {
  const first: Record<string, Buffer> = {
    'an HTTP request': Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    'an SSH banner': Buffer.from('SSH-2.0-OpenSSH_9.2p1\r\n'),
    zeros: Buffer.alloc(1000),
    ones: Buffer.alloc(1000, 0xff),
    'an empty packet': frame(Buffer.alloc(0), 1),
    'a wrong sequence number': frame(Buffer.alloc(40), 7),
    'a packet that announces 16 MiB': Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 1]), Buffer.alloc(100)]),
    'a handshake of before 4.1': frame(Buffer.from('\x05\x00\x00\x00\x00root\0', 'latin1'), 1),
  };
  for (const [name, bytes] of Object.entries(first)) {
    await t.test(`${name} in the place of a login ends the connection with an error`, async () => {
      const socket = open(ek);
      const over = said(socket);
      socket.write(bytes);
      const answer = await over;
      const greeting = 4 + answer.readUIntLE(0, 3);
      assert.ok(answer.length > greeting + 5, 'nothing was said behind the greeting');
      assert.equal(answer[greeting + 4], 0xff, 'no error packet');
      await neighbour();
    });
  }

  await t.test('a TLS client hello on the plain port ends the connection', async () => {
    const secure = tls.connect({ host: '127.0.0.1', port: ek.ports.writer, rejectUnauthorized: false });
    await assert.rejects(new Promise((resolve, reject) => secure.once('secureConnect', resolve).once('error', reject)));
    await neighbour();
  });

  await t.test('half a login ends in time', async () => {
    const socket = open(ek);
    const over = said(socket);
    socket.write(Buffer.from([200, 0, 0, 1, 1, 2, 3]));
    assert.match((await over).toString('latin1'), /timeout/);
  });
}

async function afterLogin({ t, ek, neighbour }: Stage): Promise<void> {
  const endings: [string, Buffer, number][] = [
    ['a wrong sequence number', frame(Buffer.from('\x03SELECT 1'), 3), 1156],
    [
      'fragments in a wrong order',
      Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0]), Buffer.alloc(0xffffff, 0x20), Buffer.from([1, 0, 0, 5, 0])]),
      1156,
    ],
  ];
  for (const [name, bytes, errno] of endings) {
    await t.test(`${name} ends the session with ${errno}`, async () => {
      const client = await RawClient.login(ek.login());
      client.write(bytes);
      await assert.rejects(client.answer(), (error) => error instanceof ServerSaid && error.err.errno === errno);
      assert.equal(await client.packetOrEnd(), null);
      await neighbour();
    });
  }

  await t.test('commands that are cut short get an error, and the session goes on', async () => {
    const client = await RawClient.login(ek.login());
    for (const command of [Command.STMT_EXECUTE, Command.STMT_FETCH, Command.STMT_RESET, Command.PROCESS_KILL]) {
      for (const bytes of [0, 1, 3, 4, 6]) {
        await assert.rejects(client.command(command, Buffer.alloc(bytes)), ServerSaid);
      }
    }
    const prepared = await client.command(Command.STMT_PREPARE, 'SELECT ? + ?');
    for (let i = 0; i < 5; i++) await client.packet(); // two parameters, a column, two EOFs
    const id = prepared.subarray(1, 5);
    for (const rest of [
      Buffer.alloc(0),
      Buffer.alloc(5),
      Buffer.from([0, 1, 0, 0, 0, 0, 1, 8]),
      Buffer.alloc(7, 0xff),
    ]) {
      await client.command(Command.STMT_EXECUTE, Buffer.concat([id, rest])).catch((error: unknown) => {
        if (!(error instanceof ServerSaid)) throw error;
      });
      if (client.closed) break;
    }
    client.close();
    await neighbour();
  });

  await t.test(
    'an announced packet that never comes costs no memory, and its connection is nobody else’s matter',
    async () => {
      const [pid = 0] = await ek.workerPids();
      const before = await residentBytes(pid);
      const clients = await Promise.all(Array.from({ length: 50 }, () => RawClient.login(ek.login())));
      for (const client of clients) client.write(Buffer.from([0xff, 0xff, 0xff, 0, 3]));
      await neighbour();
      assert.ok((await residentBytes(pid)) - before < 50 * MIB);
      for (const client of clients) client.close();
    },
  );

  await t.test('a client that does not read what it asked for holds up nobody but itself', async () => {
    const [pid = 0] = await ek.workerPids();
    const before = await residentBytes(pid);
    const clients = await Promise.all(Array.from({ length: 8 }, () => RawClient.login(ek.login())));
    for (const client of clients) {
      client.socket.pause();
      for (let i = 0; i < 20; i++) client.write(commandPacket(Command.QUERY, "SELECT REPEAT('x', 16000000)"));
    }
    for (let i = 0; i < 20; i++) await neighbour();
    assert.ok((await residentBytes(pid)) - before < 100 * MIB);
    for (const client of clients) client.close();
    await neighbour();
  });
}

async function crowds({ t, ek, neighbour }: Stage): Promise<void> {
  await t.test('1,000 connections that never log in are bounded, and are sent away in time', async () => {
    const sockets = Array.from({ length: 1000 }, () => open(ek));
    const answers = await Promise.all(sockets.map((socket) => said(socket, 15_000)));
    const refused = answers.filter((answer) => /Too many connections/.test(answer.toString('latin1'))).length;
    const timedOut = answers.filter((answer) => /timeout/.test(answer.toString('latin1'))).length;
    assert.ok(refused >= 490, `${refused} were refused`);
    assert.ok(timedOut >= 400, `${timedOut} timed out`);
    await neighbour();
    const another = await mysql.createConnection(ek.login());
    await another.end();
  });
}

async function fuzz({ t, ek, neighbour }: Stage): Promise<void> {
  await t.test(`random bytes before and after login (FC_SEED=${seed})`, async () => {
    let state = seed;
    const below = (n: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * n);
    };
    const bytes = (length: number): Buffer => Buffer.from(Array.from({ length }, () => below(256)));
    // COM_QUERY would be a statement; COM_SHUTDOWN and the like are refused.
    const packet = (): Buffer => frame(bytes(below(60)), below(4) === 0 ? below(256) : 0);
    for (let round = 0; round < 150; round++) {
      if (round % 3 === 0) {
        const socket = open(ek);
        socket.on('error', () => {});
        socket.write(below(2) === 0 ? bytes(1 + below(300)) : frame(bytes(32 + below(200)), 1));
        await until('an answer', 5000, () => socket.bytesRead > 0 || socket.destroyed);
        socket.destroy();
      } else {
        const client = await RawClient.login(ek.login());
        const sent = Array.from({ length: 1 + below(5) }, packet);
        client.write(Buffer.concat(sent));
        client.write(commandPacket(Command.PING));
        if (below(2) === 0) await client.packetOrEnd();
        client.close();
      }
      if (round % 10 === 0) await neighbour();
    }
    await neighbour();
  });
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

const GREETING = encodeGreeting({
  serverVersion: '9.7.0-nonsense',
  connectionId: 1,
  nonce: Buffer.alloc(20, 0x61),
  capabilities: 0xdfffffff,
  collation: 45,
  status: 2,
  authPlugin: 'mysql_native_password',
});

/** Connects to a server that says `script`, a piece for each time that it hears something (the first at once). */
async function against(script: Buffer[], query = true): Promise<{ loss: Loss; toldExchange: boolean }> {
  const server = net.createServer((socket) => {
    const pieces = [...script];
    const say = (): void => {
      const piece = pieces.shift();
      if (piece !== undefined) socket.write(piece);
    };
    socket.on('error', () => {});
    socket.on('data', say);
    say();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  let toldExchange = false;
  const loss = await new Promise<Loss>((resolve) => {
    const connection: ServerConnection = new ServerConnection({
      node: `127.0.0.1:${port}`,
      profile: { user: 'app', credential: { kind: 'none' }, dialect: 0, extended: 0, collation: 45, tls: false },
      tls: { mode: 'off' },
      flusher: null,
      connectTimeoutMs: 500,
      maxPacketBytes: 1 << 20,
      onReady: () => {
        if (!query) return;
        connection.send(commandPacket(Command.QUERY, 'SELECT 1'), {
          shape: 'result',
          clientCapabilities: 0,
          status: 2,
          expectedUs: 0,
          costSlot: -1,
          forward: () => {},
          ok: () => {},
          error: () => true,
          localInfile: () => {},
          prepared: (id) => id,
          end: () => connection.quit(),
          lost: () => void (toldExchange = true),
        });
      },
      onLost: resolve,
    });
  });
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return { loss, toldExchange };
}

const IN = frame(plainOk(2, 0xdfffffff), 2);
const columns = (count: number): Buffer => frame(Buffer.from([count]), 1);

test('a server that answers nonsense', { timeout: 60_000 }, async (t) => {
  const greetings: Record<string, [Buffer[], Loss['kind']]> = {
    'says nothing': [[Buffer.alloc(0)], 'connect-failed'],
    'greets with HTTP': [[Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')], 'protocol'],
    'greets with an unknown protocol': [[frame(Buffer.from([9, 1, 2, 3]), 0)], 'protocol'],
    'greets with half a greeting': [[frame(GREETING.subarray(0, 30), 0)], 'protocol'],
    'greets with 1 MiB of zeros': [[Buffer.alloc(MIB)], 'protocol'],
    'announces an enormous greeting': [[Buffer.from([0xff, 0xff, 0xff, 0, 1])], 'protocol'],
    'answers the login with rows': [[frame(GREETING, 0), frame(Buffer.from([3, 1, 2, 3]), 2)], 'refused'],
    'asks for passwords for ever': [
      [
        frame(GREETING, 0),
        ...Array.from({ length: 20 }, (_, i) =>
          frame(Buffer.from('\xfemysql_native_password\0aaaaaaaaaaaaaaaaaaaa\0', 'latin1'), 2 + 2 * i),
        ),
      ],
      'refused',
    ],
  };
  for (const [name, [script, kind]] of Object.entries(greetings)) {
    await t.test(`${name}: the login fails, and says why`, async () => {
      const { loss } = await against(script);
      assert.equal(loss.kind, kind, JSON.stringify(loss));
    });
  }
  const answers: Record<string, Buffer> = {
    'an empty packet': frame(Buffer.alloc(0), 1),
    'an OK that is cut short': frame(Buffer.from([0, 0xfe]), 1),
    'an error that is cut short': frame(Buffer.from([0xff]), 1),
    'a column count that is none': frame(Buffer.from([0xfd, 1]), 1),
    'an end of rows that makes no sense': Buffer.concat([
      columns(1),
      frame(Buffer.from('\x03def'), 2),
      frame(Buffer.from([0xfe, 0xfe, 1]), 3),
    ]),
    'a session state that is cut short': frame(Buffer.from([0, 0, 0, 2, 0x40, 0, 0, 0, 50, 1]), 1),
  };
  for (const [name, bytes] of Object.entries(answers)) {
    await t.test(`answers with ${name}: the connection ends, and the statement is told`, async () => {
      const { loss, toldExchange } = await against([frame(GREETING, 0), IN, bytes]);
      assert.equal(loss.kind, 'protocol', JSON.stringify(loss));
      assert.ok(toldExchange);
    });
  }
  await t.test('speaks unasked: its connection is closed', async () => {
    const { loss } = await against(
      [frame(GREETING, 0), Buffer.concat([IN, frame(Buffer.from([0, 0, 0, 2, 0, 0, 0]), 0)])],
      false,
    );
    assert.equal(loss.kind, 'closed', JSON.stringify(loss));
  });
});
