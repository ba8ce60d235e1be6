// Reads a server's answer to one command as it streams by, and cuts it into the pieces that the client gets.
// Only headers and the few packets that end something are looked at; rows pass as the chunks they came in.
//
// Server connections always speak with DEPRECATE_EOF and SESSION_TRACK. A client that speaks without them gets the
// EOF packets that it expects: one more packet shifts the sequence numbers of all that follow, which are rewritten in
// place. So a chunk that is fed here belongs to the scanner.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html
import { Capability, ServerStatus } from './capabilities.ts';
import { frame, HEADER_BYTES, MAX_FRAGMENT_BYTES } from './packet.ts';
import { ProtocolError } from './payload.ts';
import { type ErrPacket, encodeEof, encodeOk, MalformedPacket, type OkPacket, parseErr, parseOk } from './response.ts';
import { defaultSessionState, parseSessionState, type SessionChange } from './session-state.ts';

/** What kind of answer a command has. */
export type AnswerShape =
  | 'result' // OK, ERR, a request for a local file, or a result set; again while MORE_RESULTS_EXISTS
  | 'prepare' // COM_STMT_PREPARE
  | 'rows' // COM_STMT_FETCH: rows up to an end packet
  | 'columns' // COM_FIELD_LIST
  | 'text'; // COM_STATISTICS: one packet of text

export interface ScannerSink {
  /** Bytes for the client, in order. */
  forward(piece: Buffer): void;
  /** An OK packet, or the one that ends a result set; and what it says of the session. */
  ok(ok: OkPacket, changes: SessionChange[]): void;
  /** An ERR packet. True: forward it; false: keep it from the client (the answer ends here all the same). */
  error(error: ErrPacket, first: boolean): boolean;
  /** The server asks for a file of the client's. */
  localInfile(): void;
  /** COM_STMT_PREPARE succeeded. Returns the statement id that the client is to see. */
  prepared(statementId: number, parameters: number, columns: number): number;
}

type Phase = 'first' | 'definitions' | 'rows' | 'infile' | 'done';

/** The answer does not follow the protocol: the server connection cannot be used any more. */
export class ScanError extends Error {
  override name = 'ScanError';
}

/** A packet that must be looked at whole (OK, ERR, a column count) is never longer in practice. */
const MAX_INSPECTED_BYTES = 1 << 20;
const NO_CHANGES: SessionChange[] = [];
const SERVER_CAPABILITIES = Capability.PROTOCOL_41 | Capability.DEPRECATE_EOF | Capability.SESSION_TRACK;

/** One per server connection; `begin` for each answer. */
export class ResponseScanner {
  /** Sequence number of the last packet that was handed on, as the client sees it. */
  lastSequence = 0;
  #sink: ScannerSink | null = null;
  #phase: Phase = 'done';
  #shape: AnswerShape = 'result';
  #clientCapabilities = 0;
  #legacyEof = false;
  /** Definition packets still to come, and what follows them. */
  #definitions = 0;
  #afterDefinitions: 'rows' | 'prepare-columns' | 'done' = 'rows';
  #prepareColumns = 0;
  /** The client without DEPRECATE_EOF is still owed the EOF between columns and rows. */
  #owesEof = false;
  /** Packets inserted for the client so far. */
  #shift = 0;
  #bodyLeft = 0;
  /** The packet being passed is continued by the next one. */
  #continues = false;
  /** The client was shown a request for its file. */
  #askedForFile = false;
  /** Results that ended in this answer. */
  #results = 0;
  #status = 0;
  #carry: Buffer | null = null;

  get done(): boolean {
    return this.#phase === 'done';
  }

  /** Waits for an answer. `status`: the session's status flags, for an EOF packet that has none of its own. */
  begin(shape: AnswerShape, clientCapabilities: number, status: number, sink: ScannerSink): void {
    this.#sink = sink;
    this.#shape = shape;
    this.#clientCapabilities = clientCapabilities;
    this.#legacyEof = (clientCapabilities & Capability.DEPRECATE_EOF) === 0;
    this.#status = status;
    this.#shift = 0;
    this.lastSequence = 0;
    this.#owesEof = false;
    this.#results = 0;
    this.#askedForFile = false;
    this.#bodyLeft = 0;
    this.#continues = false;
    this.#phase = shape === 'rows' ? 'rows' : shape === 'columns' ? 'definitions' : 'first';
    this.#definitions = shape === 'columns' ? Number.POSITIVE_INFINITY : 0;
    this.#afterDefinitions = 'done';
  }

  /** How far the client's sequence numbers are ahead of the server's. */
  get sequenceShift(): number {
    return this.#shift;
  }

  /** The client's file was sent to its end: the server's verdict comes next. */
  infileSent(): void {
    this.#phase = 'first';
  }

  /**
   * Takes a chunk. Returns what is left over after the answer's end, or null. Throws ScanError where the bytes make
   * no sense.
   */
  feed(chunk: Buffer): Buffer | null {
    let data = chunk;
    if (this.#carry !== null) {
      data = Buffer.concat([this.#carry, chunk]);
      this.#carry = null;
    }
    let at = 0;
    let spanStart = 0;
    while (this.#phase !== 'done') {
      if (this.#bodyLeft > 0) {
        const step = Math.min(this.#bodyLeft, data.length - at);
        at += step;
        this.#bodyLeft -= step;
        if (this.#bodyLeft > 0) break;
        if (this.#packetPassed()) {
          this.#flush(data, spanStart, at);
          spanStart = at;
          this.#insertEof(this.lastSequence + 1 - this.#shift, this.#status);
        }
        continue;
      }
      const available = data.length - at;
      if (available < HEADER_BYTES) break;
      const length = (data[at] as number) | ((data[at + 1] as number) << 8) | ((data[at + 2] as number) << 16);
      const continuation = this.#continues;
      if (!continuation && length > 0 && available < HEADER_BYTES + 1) break;
      const head = continuation || length === 0 ? -1 : (data[at + HEADER_BYTES] as number);
      if (continuation || !this.#mustInspect(head, length)) {
        if (this.#owesEof && !continuation) {
          this.#flush(data, spanStart, at);
          spanStart = at;
          this.#insertEof(data[at + 3] as number, this.#status);
        }
        this.#pass(data, at, length);
        at += HEADER_BYTES;
        if (length === 0 && this.#packetPassed()) {
          this.#flush(data, spanStart, at);
          spanStart = at;
          this.#insertEof(this.lastSequence + 1 - this.#shift, this.#status);
        }
        continue;
      }
      if (length > MAX_INSPECTED_BYTES) throw new ScanError(`a packet of ${length} bytes where a short one belongs`);
      if (available < HEADER_BYTES + length) break;
      const end = at + HEADER_BYTES + length;
      const payload = data.subarray(at + HEADER_BYTES, end);
      const sequence = data[at + 3] as number;
      const verbatim = this.#inspect(payload, head, sequence, () => {
        this.#flush(data, spanStart, at);
        spanStart = end;
      });
      if (verbatim) {
        this.lastSequence = (sequence + this.#shift) & 0xff;
        data[at + 3] = this.lastSequence;
      }
      at = end;
    }
    this.#flush(data, spanStart, at);
    if (this.#phase === 'done') {
      this.#sink = null;
      return at < data.length ? data.subarray(at) : null;
    }
    if (at < data.length) this.#carry = data.subarray(at);
    return null;
  }

  #flush(data: Buffer, from: number, to: number): void {
    if (to <= from) return;
    (this.#sink as ScannerSink).forward(data.subarray(from, to));
  }

  #emit(payload: Buffer, sequence: number): void {
    const packet = frame(payload, sequence);
    this.lastSequence = sequence & 0xff;
    (this.#sink as ScannerSink).forward(packet);
  }

  #insertEof(nextServerSequence: number, status: number): void {
    this.#owesEof = false;
    // A server would say here whether more results follow and a cursor is open. Neither is known before the rows have
    // passed, and the EOF behind them says it; to claim it here might make a client wait for what does not come.
    const known = status & ~(ServerStatus.MORE_RESULTS_EXISTS | ServerStatus.CURSOR_EXISTS);
    this.#emit(encodeEof(known, 0), nextServerSequence + this.#shift);
    this.#shift++;
  }

  /** A packet whose body nobody looks at: its header is renumbered, its body skipped. */
  #pass(data: Buffer, at: number, length: number): void {
    const sequence = ((data[at + 3] as number) + this.#shift) & 0xff;
    data[at + 3] = sequence;
    this.lastSequence = sequence;
    this.#bodyLeft = length;
    this.#continues = length === MAX_FRAGMENT_BYTES;
  }

  /** A packet was passed to its end. True: the client without DEPRECATE_EOF gets an EOF packet here. */
  #packetPassed(): boolean {
    if (this.#continues) return false;
    if (this.#phase === 'first' && this.#shape === 'text') this.#phase = 'done';
    if (this.#phase !== 'definitions' || --this.#definitions > 0) return false;
    switch (this.#afterDefinitions) {
      case 'rows':
        this.#phase = 'rows';
        this.#owesEof = this.#legacyEof; // later: only the next packet tells whether there is a cursor
        return false;
      case 'prepare-columns':
        this.#definitions = this.#prepareColumns;
        this.#afterDefinitions = 'done';
        return this.#legacyEof;
      case 'done':
        this.#phase = 'done';
        return this.#legacyEof;
    }
  }

  #mustInspect(head: number, length: number): boolean {
    switch (this.#phase) {
      case 'first':
        return this.#shape !== 'text' || head === 0xff;
      case 'rows':
        return head === 0xff || (head === 0xfe && length < MAX_FRAGMENT_BYTES);
      case 'definitions':
        return head === 0xff || (head === 0xfe && this.#shape === 'columns');
      case 'infile':
      case 'done':
        throw new ScanError('the server spoke out of turn');
    }
  }

  /**
   * Looks at a whole packet. True: it goes on verbatim as part of the span. False: `cut` was called, and what the
   * client gets in its stead, if anything, was emitted.
   */
  #inspect(payload: Buffer, head: number, sequence: number, cut: () => void): boolean {
    if (head === 0xff) return this.#inspectError(payload, sequence, cut);
    if (this.#phase === 'rows' || this.#phase === 'definitions') return this.#inspectEnd(payload, sequence, cut);
    if (this.#shape === 'prepare') return this.#inspectPrepared(payload);
    if (head === 0x00) return this.#inspectOk(payload, sequence, cut);
    if (head === 0xfe) return this.#inspectEnd(payload, sequence, cut); // COM_SET_OPTION, COM_DEBUG
    if (head === 0xfb) {
      this.#phase = 'infile';
      this.#askedForFile = true;
      (this.#sink as ScannerSink).localInfile();
      return true;
    }
    this.#definitions = columnCount(payload, head);
    this.#afterDefinitions = 'rows';
    this.#phase = 'definitions';
    return true;
  }

  #inspectError(payload: Buffer, sequence: number, cut: () => void): boolean {
    const error = understood(() => parseErr(payload));
    if (this.#owesEof) {
      // The columns were shown; the error stands where the rows would.
      cut();
      this.#insertEof(sequence, this.#status);
      const show = (this.#sink as ScannerSink).error(error, false);
      if (show) this.#emit(payload, sequence + this.#shift);
      this.#phase = 'done';
      return false;
    }
    const nothingShown = this.#phase === 'first' && this.#results === 0 && !this.#askedForFile;
    const show = (this.#sink as ScannerSink).error(error, nothingShown);
    this.#phase = 'done';
    if (show) return true;
    cut();
    return false;
  }

  #inspectOk(payload: Buffer, sequence: number, cut: () => void): boolean {
    const ok = understood(() => parseOk(payload, SERVER_CAPABILITIES));
    this.#status = ok.status;
    this.#next(ok.status);
    if (this.#tell(ok, payload)) return true;
    cut();
    this.#emit(encodeOk(ok, this.#clientCapabilities, 0x00), sequence + this.#shift);
    return false;
  }

  /** The packet that ends a result set: OK in the place of EOF. */
  #inspectEnd(payload: Buffer, sequence: number, cut: () => void): boolean {
    const ok = understood(() => parseOk(payload, SERVER_CAPABILITIES));
    this.#status = ok.status;
    const rows = this.#phase === 'rows';
    const owed = this.#owesEof;
    this.#next(ok.status);
    const verbatim = this.#tell(ok, payload);
    if (!this.#legacyEof) {
      if (verbatim) return true;
      cut();
      this.#emit(encodeOk(ok, this.#clientCapabilities, 0xfe), sequence + this.#shift);
      return false;
    }
    cut();
    // An open cursor has no rows here: the EOF behind the columns is the end, and says so.
    if (owed && rows && (ok.status & ServerStatus.CURSOR_EXISTS) === 0) {
      this.#insertEof(sequence, ok.status);
    }
    this.#owesEof = false;
    this.#emit(encodeEof(ok.status, ok.warnings), sequence + this.#shift);
    return false;
  }

  /** https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_prepare.html */
  #inspectPrepared(payload: Buffer): boolean {
    if (payload.length < 12 || payload[0] !== 0x00) throw new ScanError('an answer to COM_STMT_PREPARE that is none');
    const columns = payload.readUInt16LE(5);
    const parameters = payload.readUInt16LE(7);
    const shown = (this.#sink as ScannerSink).prepared(payload.readUInt32LE(1), parameters, columns);
    payload.writeUInt32LE(shown, 1);
    if (columns + parameters === 0) {
      this.#phase = 'done';
      return true;
    }
    this.#phase = 'definitions';
    this.#prepareColumns = columns;
    this.#definitions = parameters > 0 ? parameters : columns;
    this.#afterDefinitions = parameters > 0 && columns > 0 ? 'prepare-columns' : 'done';
    return true;
  }

  /** Tells the sink, and leaves in `ok` the session state that the client is told. True: nothing differs. */
  #tell(ok: OkPacket, payload: Buffer): boolean {
    const changes = ok.sessionState.length > 0 ? understood(() => parseSessionState(ok.sessionState)) : NO_CHANGES;
    (this.#sink as ScannerSink).ok(ok, changes);
    if (ok.infoOffset === payload.length) return true;
    ok.sessionState = defaultSessionState(changes);
    return false;
  }

  #next(status: number): void {
    this.#results++;
    this.#phase = this.#shape === 'result' && (status & ServerStatus.MORE_RESULTS_EXISTS) !== 0 ? 'first' : 'done';
  }
}

/** Fields that cannot be read make the answer a broken one. */
function understood<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof MalformedPacket || error instanceof ProtocolError)) throw error;
    throw new ScanError(error.message, { cause: error });
  }
}

function columnCount(payload: Buffer, head: number): number {
  if (head < 0xfb && payload.length === 1) return head;
  if (head === 0xfc && payload.length === 3) return payload.readUInt16LE(1);
  throw new ScanError('a column count that is none');
}
