// What the scanner of a server's answers is told of an answer beforehand, and whom it tells what it finds.
import type { ErrPacket, OkPacket } from './response.ts';
import type { SessionChange } from './session-state.ts';

/** What kind of answer a command has. */
export type AnswerShape =
  | 'result' // OK, ERR, a request for a local file, or a result set; again while MORE_RESULTS_EXISTS
  | 'prepare' // COM_STMT_PREPARE
  | 'rows' // COM_STMT_FETCH: rows up to an end packet
  | 'columns' // COM_FIELD_LIST
  | 'text'; // COM_STATISTICS: one packet of text

export interface ScannerSink {
  /** A digest of the answer's rows and columns is wanted: see `ResponseScanner.digest`. */
  readonly digests?: boolean;
  /** The client asked for a cursor: where one is open, no rows come. In other answers that flag may be of a routine's own. */
  readonly opensCursor?: boolean;
  /** The client began no transaction: that one is open is not shown to it. */
  readonly hidesTransaction?: boolean;
  /** Bytes for the client, in order. */
  forward(piece: Buffer): void;
  /**
   * An OK packet, or the one that ends a result set; and what it says of the session. `ok` is read in place: its numbers
   * stand until the scanner's next answer begins, its `info` and `sessionState` during this call only.
   */
  ok(ok: OkPacket, changes: SessionChange[]): void;
  /** An ERR packet. True: forward it; false: keep it from the client (the answer ends here all the same). */
  error(error: ErrPacket, first: boolean): boolean;
  /** The server asks for a file of the client's. */
  localInfile(): void;
  /** COM_STMT_PREPARE succeeded. Returns the statement id that the client is to see. */
  prepared(statementId: number, parameters: number, columns: number, warnings: number): number;
}
