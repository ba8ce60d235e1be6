// The protocol of MySQL and MariaDB, without I/O: the folder's door.
export * from './capabilities.ts';
export { HEADER_BYTES, type Packet, PacketReader, commandPacket, frame, renumber } from './packet.ts';
export { type AnswerShape, ResponseScanner, ScanError, type ScannerSink } from './scanner.ts';
export { type SessionChange } from './session-state.ts';
export * from './handshake.ts';
export * from './auth-packets.ts';
export * from './response.ts';
export { ProtocolError } from './payload.ts';
export * from './auth/index.ts';
