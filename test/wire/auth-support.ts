// What the authentication tests share: stored forms as real servers wrote them (MySQL 9.7.4, MariaDB 10.11.19), accounts,
// services with a seed, and a tiny server that lets real drivers log in against ServerAuth.
import { createHash, generateKeyPairSync } from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import { generate } from 'selfsigned';
import type { Account, Flavor } from '../../src/messages/index.ts';
import {
  type Credential,
  loadRsaKeys,
  makeNonce,
  PlaintextCache,
  refusal,
  ServerAuth,
  type ServerAuthServices,
  type ServerAuthStep,
} from '../../src/wire/auth/index.ts';
import { Capability, ServerStatus } from '../../src/wire/capabilities.ts';
import { encodeGreeting, isSslRequest, parseHandshakeResponse } from '../../src/wire/handshake.ts';
import { encodeErr, plainOk } from '../../src/wire/response.ts';

const fromHex = (hex: string): string => Buffer.from(hex, 'hex').toString('base64');

/** Copied from mysql.user of MySQL 9.7.4 and mysql.global_priv of MariaDB 10.11.19. */
export const VECTORS = {
  native: { password: 's3cret', stored: '*B865CAE8F340F6CE1485A06F4492BB49718DF1EC' },
  ed25519: [
    { password: 's3cret', stored: 'VTpeMO9EoEH32KxFkC6VlQwbz7gSmI253Sqk3kQvx64' },
    { password: 'pässwörd 日本', stored: 'iMhh3As+4OWgoraGQc3DRMjGay6vKil2HkcKKCB/fHw' },
  ],
  cachingSha2: [
    {
      password: 's3cret',
      stored: fromHex(
        '2441243030412415286D430B265128711A7F1532272F1F1B04737A7A696D386F3558726E584337634E4F4C4B4E576865714E352F6365326C52366A666E726234637849593535',
      ),
    },
    {
      password: 'pässwörd 日本',
      stored: fromHex(
        '244124303041247478697B677C6226275B7E5531196C664A391C376261302F63744E696F71626732626453774B6C2F4C2E394F6F59414D5950436C6E3030433969487537472F',
      ),
    },
    {
      password: 'aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhh',
      stored: fromHex(
        '2441243030412423384C57770F685D5D542A404C540D2B6B0A5B156D4838684D624B504470414C6D6176445546352F385673637A52654F5565617A7252527168767765474835',
      ),
    },
  ],
  sha256: {
    password: 's3cret',
    stored: fromHex(
      '243524737B4E3A101D56451C1A3C6D1B400E23651F5471246D66594D687A52454662456E3439454A34517875344F675775383050582E7A6D6562543779567659745043',
    ),
  },
} as const;

export function account(fields: Partial<Account> & Pick<Account, 'user'>): Account {
  return {
    host: '%',
    plugin: 'mysql_native_password',
    stored: '',
    encoding: 'text',
    locked: false,
    passwordExpired: false,
    requireTls: false,
    ...fields,
  };
}

/** One account per plugin, every password `s3cret` unless the name says otherwise. */
export const ACCOUNTS: readonly Account[] = [
  account({ user: 'native', stored: VECTORS.native.stored }),
  account({ user: 'ed', plugin: 'ed25519', stored: VECTORS.ed25519[0].stored }),
  account({ user: 'sha2', plugin: 'caching_sha2_password', stored: VECTORS.cachingSha2[0].stored, encoding: 'base64' }),
  account({ user: 'utf8', plugin: 'caching_sha2_password', stored: VECTORS.cachingSha2[1].stored, encoding: 'base64' }),
  account({ user: 'sha256', plugin: 'sha256_password', stored: VECTORS.sha256.stored, encoding: 'base64' }),
  account({ user: 'empty' }),
  account({ user: 'emptysha2', plugin: 'caching_sha2_password', encoding: 'base64' }),
  account({ user: 'configured', plugin: 'caching_sha2_password', password: 's3cret' }),
  account({ user: 'locked', stored: VECTORS.native.stored, locked: true }),
  account({ user: 'tls', stored: VECTORS.native.stored, requireTls: true }),
  account({ user: 'expired', stored: VECTORS.native.stored, passwordExpired: true }),
  account({ user: 'far', host: '10.9.8.7', stored: VECTORS.native.stored }),
];

/** Random bytes that are the same in every run. */
export function seededRandom(seed: string): (bytes: number) => Buffer {
  let counter = 0;
  return (bytes) => {
    const parts: Buffer[] = [];
    for (let have = 0; have < bytes; have += 64) {
      parts.push(createHash('sha512').update(`${seed}:${counter++}`).digest());
    }
    return Buffer.concat(parts).subarray(0, bytes);
  };
}

const { privateKey } = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
});

export function makeServices(): ServerAuthServices {
  return {
    random: seededRandom('services'),
    plaintexts: new PlaintextCache(100),
    rsa: loadRsaKeys(privateKey),
    decoyKey: Buffer.alloc(32, 7),
  };
}

export type Outcome = { credential: Credential } | { reason: string; errno: number };

export interface TestServer {
  port: number;
  services: ServerAuthServices;
  /** What became of each login, in order. */
  outcomes: Outcome[];
  /** The exchange's packets that we sent, by their first two bytes, of the last login. */
  sent: string[];
  close(): Promise<void>;
}

const CAPABILITIES =
  (Capability.LONG_PASSWORD |
    Capability.PROTOCOL_41 |
    Capability.SECURE_CONNECTION |
    Capability.PLUGIN_AUTH |
    Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA |
    Capability.CONNECT_WITH_DB |
    Capability.CONNECT_ATTRS |
    Capability.TRANSACTIONS |
    Capability.SSL) >>>
  0;

/** A server of one thing: logging in. It answers OK to every command after that. */
export async function startServer(flavor: Flavor, authPlugin: string, accounts = ACCOUNTS): Promise<TestServer> {
  const services = makeServices();
  const outcomes: Outcome[] = [];
  const sent: string[] = [];
  const pems = await generate([{ name: 'commonName', value: 'localhost' }], { keySize: 2048 });
  const context = tls.createSecureContext({ key: pems.private, cert: pems.cert });
  const open = new Set<net.Socket>();

  const server = net.createServer((plain) => {
    open.add(plain);
    plain.on('close', () => open.delete(plain));
    plain.on('error', () => plain.destroy());
    const nonce = makeNonce(services.random);
    let socket: net.Socket = plain;
    let secure = false;
    let first = true;
    let sequence = 0;
    let auth: ServerAuth | null = null;
    let ready = false;
    let buffered = Buffer.alloc(0);
    let work = Promise.resolve();

    const send = (payload: Buffer): void => {
      const header = Buffer.alloc(4);
      header.writeUIntLE(payload.length, 0, 3);
      header[3] = sequence++ & 0xff;
      socket.write(Buffer.concat([header, payload]));
    };
    const take = (step: ServerAuthStep): void => {
      if (step.kind === 'send') {
        sent.push(step.payload.toString('hex', 0, 2));
        send(step.payload);
      } else if (step.kind === 'done') {
        if (step.send !== null) {
          sent.push(step.send.toString('hex', 0, 2));
          send(step.send);
        }
        outcomes.push({ credential: step.credential });
        ready = true;
        send(plainOk(ServerStatus.AUTOCOMMIT, CAPABILITIES));
      } else {
        outcomes.push({ reason: step.reason, errno: step.error.errno });
        send(encodeErr(step.error));
        socket.end();
      }
    };
    const handle = async (payload: Buffer): Promise<void> => {
      if (ready) return send(plainOk(ServerStatus.AUTOCOMMIT, CAPABILITIES));
      if (auth !== null) return take(await auth.step(payload));
      const response = parseHandshakeResponse(payload);
      sent.length = 0;
      auth = new ServerAuth(
        {
          flavor,
          accounts,
          clientAddress: plain.remoteAddress ?? '',
          transport: { tls: secure, local: false },
          user: response.user,
          authResponse: response.authResponse,
          authPlugin: response.authPlugin,
          capabilities: response.capabilities & CAPABILITIES,
          nonce,
        },
        services,
      );
      take(await auth.start());
    };
    const onData = (chunk: Buffer): void => {
      buffered = Buffer.concat([buffered, chunk]);
      while (buffered.length >= 4) {
        const length = buffered.readUIntLE(0, 3);
        if (buffered.length < 4 + length) return;
        sequence = (buffered.readUInt8(3) + 1) & 0xff;
        const payload = Buffer.from(buffered.subarray(4, 4 + length));
        buffered = buffered.subarray(4 + length);
        const isFirst = first;
        first = false;
        if (isFirst && isSslRequest(payload)) {
          secure = true;
          // What came along belongs to TLS already.
          plain.removeListener('data', onData);
          plain.pause();
          if (buffered.length > 0) plain.unshift(buffered);
          buffered = Buffer.alloc(0);
          socket = new tls.TLSSocket(plain, { isServer: true, secureContext: context });
          socket.on('data', onData);
          socket.on('error', () => plain.destroy());
          return;
        }
        if (ready && payload[0] === 0x01) {
          plain.end();
          return;
        }
        work = work.then(() => handle(payload)).catch((error: unknown) => void plain.destroy(error as Error));
      }
    };
    plain.on('data', onData);
    send(
      encodeGreeting({
        serverVersion: flavor === 'mysql' ? '9.7.4' : '5.5.5-10.11.19-MariaDB',
        connectionId: 7,
        nonce,
        capabilities: CAPABILITIES,
        collation: 45,
        status: ServerStatus.AUTOCOMMIT,
        authPlugin,
      }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    services,
    outcomes,
    sent,
    close: async () => {
      for (const socket of open) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** The exact packet that a refused client gets, for comparisons. */
export const deniedText = (user: string, usingPassword: boolean, flavor: Flavor): string =>
  refusal({ kind: 'access-denied', user, host: 'localhost', usingPassword }, flavor).message;
