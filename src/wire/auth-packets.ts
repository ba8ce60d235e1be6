// The packets that steer an authentication exchange, AuthSwitchRequest and AuthMoreData, and the error that stands in
// place of a greeting. OK and ERR themselves are in response.ts; here they are read with this phase's error type.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets.html
import { PayloadReader, PayloadWriter, ProtocolError } from './payload.ts';
import { type ErrPacket, MalformedPacket, type OkPacket, parseErr, parseOk } from './response.ts';

export interface AuthSwitchRequest {
  plugin: string;
  /** As sent: a nonce has a zero byte behind it with most plugins. */
  data: Buffer;
}

export function encodeAuthSwitch(plugin: string, data: Buffer): Buffer {
  return new PayloadWriter().u8(0xfe).nulBytes(plugin).bytes(data).finish();
}

/** Throws ProtocolError; `unsupported` for the bare 0xfe that asks for the pre-4.1 password. */
export function parseAuthSwitch(payload: Buffer): AuthSwitchRequest {
  const reader = new PayloadReader(payload);
  if (reader.u8('the header') !== 0xfe) throw new ProtocolError('unexpected-packet', 'not an AuthSwitchRequest');
  if (reader.remaining === 0) throw new ProtocolError('unsupported', 'the server asks for a pre-4.1 password');
  const plugin = reader.nulText(256, 'the plugin name');
  return { plugin, data: Buffer.from(reader.rest()) };
}

export function encodeAuthMoreData(data: Buffer): Buffer {
  return Buffer.concat([Buffer.of(0x01), data]);
}

/** Throws ProtocolError. */
export function parseAuthMoreData(payload: Buffer): Buffer {
  const reader = new PayloadReader(payload);
  if (reader.u8('the header') !== 0x01) throw new ProtocolError('unexpected-packet', 'not AuthMoreData');
  return Buffer.from(reader.rest());
}

/** An ERR packet in place of a greeting. No capabilities are agreed yet, so it carries no SQLSTATE. */
export function encodeEarlyErr(err: ErrPacket): Buffer {
  return new PayloadWriter().u8(0xff).u16(err.errno).bytes(err.message).finish();
}

function asProtocolError<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof MalformedPacket) throw new ProtocolError('truncated', error.message);
    throw error;
  }
}

/** An ERR packet of the connection phase. Throws ProtocolError. */
export function readErr(payload: Buffer): ErrPacket {
  if (payload[0] !== 0xff) throw new ProtocolError('unexpected-packet', 'not an ERR packet');
  return asProtocolError(() => parseErr(payload));
}

/** The OK packet that ends the connection phase. Throws ProtocolError. */
export function readOk(payload: Buffer, capabilities: number): OkPacket {
  if (payload[0] !== 0x00) throw new ProtocolError('unexpected-packet', 'not an OK packet');
  return asProtocolError(() => parseOk(payload, capabilities));
}
