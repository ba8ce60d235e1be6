// The protocol of MySQL and MariaDB, without I/O: the folder's door.

export type { AnswerShape, ScannerSink } from './answer.ts';
export { executeAttributes, executeLayout, queryAttributes, queryPacket, queryTextOffset } from './attributes.ts';
export * from './auth/index.ts';
export * from './auth-packets.ts';
export * from './capabilities.ts';
export { CompressedStream, compressionOf } from './compressed.ts';
export * from './handshake.ts';
export { asPacket, commandPacket, frame, HEADER_BYTES, type Packet, PacketReader, type PacketSpan } from './packet.ts';
export { ProtocolError } from './payload.ts';
export * from './response.ts';
export { ResponseScanner } from './scanner.ts';
export { type SessionChange } from './session-state.ts';
