// The connection phase's packets, both directions: greeting, SSL request, handshake response, and
// COM_CHANGE_USER, which repeats the response in mid-connection. Payloads in, payloads out; the packets
// that carry the authentication itself are in auth-packets.ts, the exchange in auth/.

import { readErr } from './auth-packets.ts';
import { Capability, Command } from './capabilities.ts';
import { decodeText, PayloadReader, PayloadWriter, ProtocolError } from './payload.ts';
import type { ErrPacket } from './response.ts';

/** Bounds of what a client may announce before it is known. Above the largest that a server itself allows. */
export const HANDSHAKE_LIMITS = {
  /** The whole payload of a handshake response or COM_CHANGE_USER. */
  payloadBytes: 128 * 1024,
  userBytes: 1024,
  databaseBytes: 1024,
  pluginBytes: 256,
  authResponseBytes: 4096,
  /** All attributes together; MySQL's own limit. */
  attributesBytes: 64 * 1024,
  attributes: 512,
  serverVersionBytes: 256,
} as const;

const has = (capabilities: number, bit: number): boolean => (capabilities & bit) !== 0;

/** What a server says first. */
export interface Greeting {
  /** Verbatim. MariaDB before 11 puts `5.5.5-` in front, which clients strip. */
  serverVersion: string;
  connectionId: number;
  /** 20 bytes, none of them zero. */
  nonce: Buffer;
  capabilities: number;
  /** MariaDB's extended bits; 0 on MySQL. */
  mariadbCapabilities: number;
  collation: number;
  status: number;
  authPlugin: string;
}

/** Throws TypeError on a nonce that clients would misread: not 20 bytes, or with a zero byte in it. */
export function encodeGreeting(
  greeting: Omit<Greeting, 'mariadbCapabilities'> & { mariadbCapabilities?: number },
): Buffer {
  const { nonce } = greeting;
  if (nonce.length !== 20 || nonce.includes(0)) throw new TypeError('a greeting needs 20 nonce bytes, none zero');
  return new PayloadWriter()
    .u8(10)
    .nulBytes(greeting.serverVersion)
    .u32(greeting.connectionId)
    .bytes(nonce.subarray(0, 8))
    .u8(0)
    .u16(greeting.capabilities)
    .u8(greeting.collation)
    .u16(greeting.status)
    .u16(greeting.capabilities >>> 16)
    .u8(nonce.length + 1)
    .zeros(6)
    .u32(greeting.mariadbCapabilities ?? 0)
    .bytes(nonce.subarray(8))
    .u8(0)
    .nulBytes(greeting.authPlugin)
    .finish();
}

/** The server's first packet: a greeting, or an error such as 1040, 1129 or 1130 in its place. */
export type FirstPacket = { kind: 'greeting'; greeting: Greeting } | { kind: 'err'; err: ErrPacket };

/** Throws ProtocolError: `unsupported-version` for a protocol other than 10, `old-client`-era greetings included. */
export function parseGreeting(payload: Buffer): FirstPacket {
  const reader = new PayloadReader(payload);
  const version = reader.u8('the protocol version');
  if (version === 0xff) return { kind: 'err', err: readErr(payload) };
  if (version !== 10) throw new ProtocolError('unsupported-version', `the server speaks protocol ${version}, not 10`);
  const serverVersion = reader.nulText(HANDSHAKE_LIMITS.serverVersionBytes, 'the server version');
  const connectionId = reader.u32('the connection id');
  const nonceStart = reader.bytes(8, 'the nonce');
  reader.skip(1, 'the greeting');
  const low = reader.u16('the capabilities');
  const collation = reader.u8('the collation');
  const status = reader.u16('the status');
  const capabilities = (low | (reader.u16('the capabilities') << 16)) >>> 0;
  if (!has(capabilities, Capability.PROTOCOL_41) || !has(capabilities, Capability.SECURE_CONNECTION)) {
    throw new ProtocolError('unsupported', 'the server is older than protocol 4.1');
  }
  const announced = reader.u8('the nonce length');
  reader.skip(6, 'the greeting');
  const mariadbCapabilities = reader.u32('the greeting');
  const nonceEnd = reader.bytes(Math.max(13, announced - 8), 'the nonce').subarray(0, 12);
  const authPlugin = has(capabilities, Capability.PLUGIN_AUTH)
    ? reader.nulText(HANDSHAKE_LIMITS.pluginBytes, 'the plugin name')
    : 'mysql_native_password';
  return {
    kind: 'greeting',
    greeting: {
      serverVersion,
      connectionId,
      nonce: Buffer.concat([nonceStart, nonceEnd]),
      capabilities,
      // MySQL leaves these bytes zero, but sets LONG_PASSWORD, which MariaDB uses to say that they mean nothing.
      mariadbCapabilities: has(capabilities, Capability.LONG_PASSWORD) ? 0 : mariadbCapabilities,
      collation,
      status,
      authPlugin,
    },
  };
}

/** The fixed head that an SSL request and a handshake response share. */
export interface ClientHead {
  capabilities: number;
  mariadbCapabilities: number;
  maxPacketBytes: number;
  /** 0 to 255: a collation beyond that is set by a statement afterwards. */
  collation: number;
}

function readHead(reader: PayloadReader): ClientHead {
  const low = reader.u16('the capabilities');
  if (!has(low, Capability.PROTOCOL_41)) {
    throw new ProtocolError('old-client', 'the client speaks a protocol older than 4.1');
  }
  const capabilities = (low | (reader.u16('the capabilities') << 16)) >>> 0;
  const maxPacketBytes = reader.u32('the packet limit');
  const collation = reader.u8('the collation');
  reader.skip(19, 'the filler');
  const extended = reader.u32('the filler');
  return {
    capabilities,
    mariadbCapabilities: has(capabilities, Capability.LONG_PASSWORD) ? 0 : extended,
    maxPacketBytes,
    collation,
  };
}

function writeHead(head: Omit<ClientHead, 'mariadbCapabilities'> & { mariadbCapabilities?: number }): PayloadWriter {
  const capabilities = (head.capabilities | Capability.PROTOCOL_41) >>> 0;
  const extended = has(capabilities, Capability.LONG_PASSWORD) ? 0 : (head.mariadbCapabilities ?? 0);
  return new PayloadWriter().u32(capabilities).u32(head.maxPacketBytes).u8(head.collation).zeros(19).u32(extended);
}

/**
 * Exactly the head, with CLIENT_SSL: the TLS handshake follows, and after it the full response. Ask only of a client's
 * first packet: caching_sha2_password's answers are 32 bytes long, too, and any of them may look like one.
 */
export function isSslRequest(payload: Buffer): boolean {
  return payload.length === 32 && has(payload.readUInt16LE(0), Capability.SSL);
}

/** Throws ProtocolError where `isSslRequest` is false. */
export function parseSslRequest(payload: Buffer): ClientHead {
  if (payload.length === 32 && !isSslRequest(payload)) {
    throw new ProtocolError('unexpected-packet', 'an SSL request without CLIENT_SSL');
  }
  if (payload.length > 32) throw new ProtocolError('too-large', 'an SSL request is 32 bytes long');
  return readHead(new PayloadReader(payload));
}

export function encodeSslRequest(head: Parameters<typeof writeHead>[0]): Buffer {
  return writeHead({ ...head, capabilities: (head.capabilities | Capability.SSL) >>> 0 }).finish();
}

/** What a client answers to the greeting. */
export interface HandshakeResponse extends ClientHead {
  user: string;
  /** A copy: the receive buffer it came in may be reused. */
  authResponse: Buffer;
  /** Null where the client named none, or the empty name. */
  database: string | null;
  /** Null where the client does not speak PLUGIN_AUTH: `mysql_native_password` then. */
  authPlugin: string | null;
  attributes: Map<string, string>;
  /** 0 where the client does not speak zstd. */
  zstdLevel: number;
}

function checkSize(payload: Buffer): void {
  if (payload.length > HANDSHAKE_LIMITS.payloadBytes) {
    throw new ProtocolError('too-large', `longer than ${HANDSHAKE_LIMITS.payloadBytes} bytes before login`);
  }
}

function readAttributes(reader: PayloadReader): Map<string, string> {
  const block = new PayloadReader(reader.lenencBytes(HANDSHAKE_LIMITS.attributesBytes, 'the connection attributes'));
  const attributes = new Map<string, string>();
  while (block.remaining > 0) {
    if (attributes.size >= HANDSHAKE_LIMITS.attributes) {
      throw new ProtocolError('too-large', `more than ${HANDSHAKE_LIMITS.attributes} connection attributes`);
    }
    const name = decodeText(block.lenencBytes(HANDSHAKE_LIMITS.attributesBytes, 'an attribute name'));
    attributes.set(name, decodeText(block.lenencBytes(HANDSHAKE_LIMITS.attributesBytes, 'an attribute value')));
  }
  return attributes;
}

function attributesPayload(attributes: ReadonlyMap<string, string>): Buffer {
  const block = new PayloadWriter();
  for (const [name, value] of attributes) block.lenencBytes(name).lenencBytes(value);
  return block.finish();
}

function readAuthResponse(reader: PayloadReader, capabilities: number): Buffer {
  const what = 'the authentication response';
  if (has(capabilities, Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA)) {
    return Buffer.from(reader.lenencBytes(HANDSHAKE_LIMITS.authResponseBytes, what));
  }
  if (has(capabilities, Capability.SECURE_CONNECTION)) return Buffer.from(reader.bytes(reader.u8(what), what));
  return Buffer.from(reader.nulBytes(HANDSHAKE_LIMITS.authResponseBytes, what));
}

/** The server accepts a plugin name that the packet's end terminates, and so do we where nothing must follow. */
function readPlugin(reader: PayloadReader, capabilities: number): string {
  const what = 'the plugin name';
  if (has(capabilities, Capability.CONNECT_ATTRS | Capability.ZSTD_COMPRESSION_ALGORITHM)) {
    return reader.nulText(HANDSHAKE_LIMITS.pluginBytes, what);
  }
  const tail = reader.rest();
  return new PayloadReader(Buffer.concat([tail, Buffer.of(0)])).nulText(HANDSHAKE_LIMITS.pluginBytes, what);
}

/** Throws ProtocolError; `old-client` for protocol 3.20, whose users get error 1251. */
export function parseHandshakeResponse(payload: Buffer): HandshakeResponse {
  checkSize(payload);
  const reader = new PayloadReader(payload);
  const head = readHead(reader);
  const { capabilities } = head;
  const user = reader.nulText(HANDSHAKE_LIMITS.userBytes, 'the user name');
  const authResponse = readAuthResponse(reader, capabilities);
  const database = has(capabilities, Capability.CONNECT_WITH_DB)
    ? reader.nulText(HANDSHAKE_LIMITS.databaseBytes, 'the database name')
    : '';
  const authPlugin = has(capabilities, Capability.PLUGIN_AUTH) ? readPlugin(reader, capabilities) : null;
  const attributes = has(capabilities, Capability.CONNECT_ATTRS) ? readAttributes(reader) : new Map<string, string>();
  const zstdLevel = has(capabilities, Capability.ZSTD_COMPRESSION_ALGORITHM) ? reader.u8('the zstd level') : 0;
  return { ...head, user, authResponse, database: database || null, authPlugin, attributes, zstdLevel };
}

/** What `encodeHandshakeResponse` needs; capability bits follow from the fields that are given. */
export interface HandshakeResponseInput {
  /** The bits wanted beyond those that the fields imply. Intersect with the greeting's first. */
  capabilities: number;
  mariadbCapabilities?: number;
  maxPacketBytes: number;
  collation: number;
  user: string;
  authResponse: Buffer;
  database?: string | null;
  authPlugin?: string | null;
  attributes?: ReadonlyMap<string, string>;
  zstdLevel?: number;
}

/** The bits that a response with these fields carries: what both sides must read the connection by. */
export function responseCapabilities(input: HandshakeResponseInput): number {
  const flag = (wanted: boolean, bit: number): number => (wanted ? bit : 0);
  const implied =
    Capability.CONNECT_WITH_DB |
    Capability.PLUGIN_AUTH |
    Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA |
    Capability.CONNECT_ATTRS |
    Capability.ZSTD_COMPRESSION_ALGORITHM;
  return (
    ((input.capabilities & ~implied) |
      Capability.PROTOCOL_41 |
      Capability.SECURE_CONNECTION |
      flag(Boolean(input.database), Capability.CONNECT_WITH_DB) |
      flag(Boolean(input.authPlugin), Capability.PLUGIN_AUTH) |
      flag(input.authResponse.length > 250, Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA) |
      flag((input.attributes?.size ?? 0) > 0, Capability.CONNECT_ATTRS) |
      flag((input.zstdLevel ?? 0) > 0, Capability.ZSTD_COMPRESSION_ALGORITHM)) >>>
    0
  );
}

export function encodeHandshakeResponse(input: HandshakeResponseInput): Buffer {
  const capabilities = responseCapabilities(input);
  const writer = writeHead({ ...input, capabilities }).nulBytes(input.user);
  if (has(capabilities, Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA)) writer.lenencBytes(input.authResponse);
  else writer.u8(input.authResponse.length).bytes(input.authResponse);
  if (input.database) writer.nulBytes(input.database);
  if (input.authPlugin) writer.nulBytes(input.authPlugin);
  if (input.attributes && input.attributes.size > 0) writer.lenencBytes(attributesPayload(input.attributes));
  if (input.zstdLevel) writer.u8(input.zstdLevel);
  return writer.finish();
}

/** COM_CHANGE_USER: a new login on the same connection. */
export interface ChangeUser {
  user: string;
  authResponse: Buffer;
  database: string | null;
  /** Null where the client sent none (a server takes its default then). Up to 65535 here. */
  collation: number | null;
  authPlugin: string | null;
  attributes: Map<string, string>;
}

/** `capabilities` are the connection's. Throws ProtocolError. */
export function parseChangeUser(payload: Buffer, capabilities: number): ChangeUser {
  checkSize(payload);
  const reader = new PayloadReader(payload);
  if (reader.u8('the command') !== Command.CHANGE_USER) {
    throw new ProtocolError('unexpected-packet', 'not a COM_CHANGE_USER');
  }
  const user = reader.nulText(HANDSHAKE_LIMITS.userBytes, 'the user name');
  const authResponse = readAuthResponse(reader, capabilities & ~Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA);
  const database = reader.nulText(HANDSHAKE_LIMITS.databaseBytes, 'the database name') || null;
  // Everything from here on was added over the years; older clients stop earlier, at a field's border.
  const collation = reader.remaining > 0 ? reader.u16('the collation') : null;
  const wantsPlugin = has(capabilities, Capability.PLUGIN_AUTH) && reader.remaining > 0;
  const authPlugin = wantsPlugin ? reader.nulText(HANDSHAKE_LIMITS.pluginBytes, 'the plugin name') : null;
  const wantsAttributes = has(capabilities, Capability.CONNECT_ATTRS) && reader.remaining > 0;
  const attributes = wantsAttributes ? readAttributes(reader) : new Map<string, string>();
  return { user, authResponse, database, collation, authPlugin, attributes };
}

/** Throws TypeError where the authentication response is over 255 bytes: the packet has one byte for its length. */
export function encodeChangeUser(input: ChangeUser, capabilities: number): Buffer {
  if (input.authResponse.length > 255) throw new TypeError('COM_CHANGE_USER carries at most 255 bytes of response');
  const writer = new PayloadWriter()
    .u8(Command.CHANGE_USER)
    .nulBytes(input.user)
    .u8(input.authResponse.length)
    .bytes(input.authResponse)
    .nulBytes(input.database ?? '');
  if (input.collation === null) return writer.finish();
  writer.u16(input.collation);
  if (!has(capabilities, Capability.PLUGIN_AUTH)) return writer.finish();
  writer.nulBytes(input.authPlugin ?? 'mysql_native_password');
  if (has(capabilities, Capability.CONNECT_ATTRS)) writer.lenencBytes(attributesPayload(input.attributes));
  return writer.finish();
}
