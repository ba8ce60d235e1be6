// The session state that servers report in OK packets (session tracking).
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html#sect_protocol_basic_ok_packet_sessinfo
import { SessionTrack } from './capabilities.ts';
import { PayloadReader, PayloadWriter } from './payload.ts';

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

const MAX_ITEM_BYTES = 16 * 1024 * 1024;

/** Decodes an OK packet's session state. Items of unknown type are passed over. Throws ProtocolError. */
export function parseSessionState(state: Buffer): SessionChange[] {
  const changes: SessionChange[] = [];
  const reader = new PayloadReader(state);
  while (reader.remaining > 0) {
    const type = reader.u8('a session-state type');
    const item = new PayloadReader(reader.lenencBytes(MAX_ITEM_BYTES, 'a session-state item'));
    const text = (what: string): string => item.lenencBytes(MAX_ITEM_BYTES, what).toString('utf8');
    switch (type) {
      case SessionTrack.SYSTEM_VARIABLES:
        // MariaDB packs several pairs into one item.
        while (item.remaining > 0) {
          const name = text('a variable name');
          changes.push({ kind: 'variable', name, value: text('a variable value') });
        }
        break;
      case SessionTrack.SCHEMA:
        changes.push({ kind: 'schema', schema: text('a schema name') });
        break;
      case SessionTrack.STATE_CHANGE:
        changes.push({ kind: 'state' });
        break;
      case SessionTrack.GTIDS:
        item.skip(1, 'the GTID encoding'); // always 0
        changes.push({ kind: 'gtid', gtid: text('a GTID') });
        break;
      case SessionTrack.TRANSACTION_CHARACTERISTICS:
        changes.push({ kind: 'transaction-characteristics', sql: text('transaction characteristics') });
        break;
      case SessionTrack.TRANSACTION_STATE:
        changes.push({ kind: 'transaction-state', state: text('a transaction state') });
        break;
      default:
        break;
    }
  }
  return changes;
}

/** Variables that servers of both families report by default, which a client with SESSION_TRACK therefore expects. */
const REPORTED_BY_DEFAULT = new Set([
  'autocommit',
  'character_set_client',
  'character_set_connection',
  'character_set_results',
  'time_zone',
]);

/** What a server with default settings would have told of these changes. */
export function defaultSessionState(changes: readonly SessionChange[]): Buffer {
  const writer = new PayloadWriter();
  for (const change of changes) {
    if (change.kind === 'schema') {
      writer.u8(SessionTrack.SCHEMA).lenencBytes(new PayloadWriter().lenencBytes(change.schema).finish());
    } else if (change.kind === 'variable' && REPORTED_BY_DEFAULT.has(change.name)) {
      const pair = new PayloadWriter().lenencBytes(change.name).lenencBytes(change.value).finish();
      writer.u8(SessionTrack.SYSTEM_VARIABLES).lenencBytes(pair);
    }
  }
  return writer.finish();
}
