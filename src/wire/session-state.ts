// The session state that servers report in OK packets (session tracking).
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html#sect_protocol_basic_ok_packet_sessinfo
import { SessionTrack } from './capabilities.ts';
import { PayloadReader, PayloadWriter, ProtocolError } from './payload.ts';

/** One thing that the server says changed in the session. */
export type SessionChange =
  | { kind: 'variable'; name: string; value: string }
  | { kind: 'schema'; schema: string }
  /** Something did: SESSION_TRACK_STATE_CHANGE. */
  | { kind: 'state' }
  | { kind: 'gtid'; gtid: string }
  /** SQL that starts a transaction alike. */
  | { kind: 'transaction-characteristics'; sql: string }
  /** Eight letters, see the manual's session_track_transaction_info. */
  | { kind: 'transaction-state'; state: string };

/** Decodes an OK packet's session state. Items of unknown type are passed over. Throws ProtocolError. */
export function parseSessionState(state: Buffer): SessionChange[] {
  const changes: SessionChange[] = [];
  for (let at = 0; at < state.length; ) {
    const type = state[at] as number;
    const start = lengthEnd(state, at + 1, state.length);
    const end = start + lengthAt(state, at + 1, state.length);
    readItem(changes, type, state, start, end);
    at = end;
  }
  return changes;
}

function readItem(changes: SessionChange[], type: number, state: Buffer, start: number, end: number): void {
  switch (type) {
    case SessionTrack.SYSTEM_VARIABLES:
      // MariaDB packs several pairs into one item.
      for (let at = start; at < end; ) {
        const nameAt = lengthEnd(state, at, end);
        const nameEnd = nameAt + lengthAt(state, at, end);
        const valueAt = lengthEnd(state, nameEnd, end);
        at = valueAt + lengthAt(state, nameEnd, end);
        const name = state.toString('utf8', nameAt, nameEnd);
        changes.push({ kind: 'variable', name, value: state.toString('utf8', valueAt, at) });
      }
      return;
    case SessionTrack.SCHEMA:
      changes.push({ kind: 'schema', schema: textAt(state, start, end) });
      return;
    case SessionTrack.STATE_CHANGE:
      changes.push(STATE_CHANGE);
      return;
    case SessionTrack.GTIDS:
      changes.push({ kind: 'gtid', gtid: textAt(state, start + 1, end) }); // behind the encoding, always 0
      return;
    case SessionTrack.TRANSACTION_CHARACTERISTICS:
      changes.push({ kind: 'transaction-characteristics', sql: textAt(state, start, end) });
      return;
    case SessionTrack.TRANSACTION_STATE:
      changes.push({ kind: 'transaction-state', state: textAt(state, start, end) });
      return;
    default:
  }
}

const STATE_CHANGE: SessionChange = { kind: 'state' };

function textAt(state: Buffer, at: number, end: number): string {
  const start = lengthEnd(state, at, end);
  return state.toString('utf8', start, start + lengthAt(state, at, end));
}

/** The length-encoded length at `at`, of something that ends at `end` at the latest. */
function lengthAt(state: Buffer, at: number, end: number): number {
  const head = state[at] as number;
  const length = head < 0xfb ? head : Number(new PayloadReader(state, at).lenencInt('a length'));
  if (length > end - lengthEnd(state, at, end)) {
    throw new ProtocolError('truncated', 'the session state ends inside an item');
  }
  return length;
}

/** Where the length-encoded length at `at` ends. */
function lengthEnd(state: Buffer, at: number, end: number): number {
  if (at >= end) throw new ProtocolError('truncated', 'the session state ends before a length');
  const head = state[at] as number;
  const after = at + (head < 0xfb ? 1 : head === 0xfc ? 3 : head === 0xfd ? 4 : 9);
  if (after > end) throw new ProtocolError('truncated', 'the session state ends inside a length');
  return after;
}

/** Variables that servers of both families report by default, which a client with SESSION_TRACK therefore expects. */
const REPORTED_BY_DEFAULT = new Set([
  'autocommit',
  'character_set_client',
  'character_set_connection',
  'character_set_results',
  'time_zone',
]);

const NOTHING = Buffer.alloc(0);

function isReported(change: SessionChange): boolean {
  return change.kind === 'schema' || (change.kind === 'variable' && REPORTED_BY_DEFAULT.has(change.name));
}

/** What a server with default settings would have told of these changes. */
export function defaultSessionState(changes: readonly SessionChange[]): Buffer {
  if (!changes.some(isReported)) return NOTHING;
  const writer = new PayloadWriter();
  for (const change of changes) {
    if (change.kind === 'schema') {
      writer.u8(SessionTrack.SCHEMA).lenencBytes(new PayloadWriter().lenencBytes(change.schema).finish());
    } else if (change.kind === 'variable' && isReported(change)) {
      const pair = new PayloadWriter().lenencBytes(change.name).lenencBytes(change.value).finish();
      writer.u8(SessionTrack.SYSTEM_VARIABLES).lenencBytes(pair);
    }
  }
  return writer.finish();
}
