// Reads a server's answer to one command as it streams by, and cuts it into the pieces that the client gets.
// Only headers and the few packets that end something are looked at; rows pass as the chunks they came in.
//
// Server connections always speak with DEPRECATE_EOF and SESSION_TRACK. A client that speaks without them gets the
// EOF packets that it expects: one more packet shifts the sequence numbers of all that follow, which are rewritten in
// place. So a chunk that is fed here belongs to the scanner.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html
import { crc32 } from 'node:zlib';
import type { AnswerShape, ScannerSink } from './answer.ts';
import { Capability, ServerStatus } from './capabilities.ts';
import { HEADER_BYTES, MAX_FRAGMENT_BYTES } from './packet.ts';
import { ProtocolError } from './payload.ts';
import { encodeOk, MalformedPacket, OkReader, parseErr } from './response.ts';
import { defaultSessionState, parseSessionState, type SessionChange } from './session-state.ts';

type Phase = 'first' | 'definitions' | 'rows' | 'infile' | 'done';

/** The answer does not follow the protocol: the server connection cannot be used any more. */
export class ScanError extends Error {
  override name = 'ScanError';
}

/** A packet that must be looked at whole (OK, ERR, a column count) is never longer in practice. */
const MAX_INSPECTED_BYTES = 1 << 20;
const CURSOR_AND_MORE = ServerStatus.CURSOR_EXISTS | ServerStatus.MORE_RESULTS_EXISTS;
const NOTHING = Buffer.alloc(0);
const NO_CHANGES: SessionChange[] = [];
/** Where packets are put in, spans up to this size are copied around them into one piece; longer ones are cut. */
const JOIN_BYTES = 4096;
/** Joined pieces are written into pools of this size, one behind the other, and never over one another. */
const POOL_BYTES = 16 * 1024;
const EOF_PAYLOAD_BYTES = 5;

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
  /** Of the next packet of that file, as the server counts. */
  #fileSequence = 0;
  /** Results that ended in this answer. */
  #results = 0;
  #status = 0;
  #carry: Buffer | null = null;
  /** The chunk being looked at, and from where on it is to be passed. */
  #data: Buffer = NOTHING;
  #spanStart = 0;
  /** Packets were put in: what the client gets of this chunk so far is in the pool, from `#joinedAt` to `#poolAt`. */
  #joining = false;
  #joinedAt = 0;
  #pool: Buffer = NOTHING;
  #poolAt = 0;
  #rows = 0;
  #ok = new OkReader();
  /**
   * Of the columns and rows of this answer, where its sink wants it. What ends a result is not in it: its flags and
   * warnings may differ between servers, and its numbers are told by `ok`.
   */
  digest = 0;
  #digests = false;
  #digestFrom = 0;
  #hidesTransaction = false;
  /** What the last OK said, of whomever its answer was. An error tells nothing of it. */
  inTransaction = false;
  #opensCursor = false;
  /** Rows of the last result set of this answer, whether its end has come or not. */
  get rows(): number {
    return this.#rows;
  }

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
    this.#rows = 0;
    this.#askedForFile = false;
    this.#bodyLeft = 0;
    this.#continues = false;
    this.#phase = shape === 'rows' ? 'rows' : shape === 'columns' ? 'definitions' : 'first';
    this.#definitions = shape === 'columns' ? Number.POSITIVE_INFINITY : 0;
    this.#afterDefinitions = 'done';
    this.digest = 0;
    this.#digests = sink.digests === true;
    this.#hidesTransaction = sink.hidesTransaction === true;
    this.#opensCursor = sink.opensCursor === true;
  }

  /**
   * The number that the server awaits the next packet of the client's file with. The client counts packets that only it has
   * seen, and with compression counts otherwise altogether.
   */
  nextFileNumber(): number {
    return this.#fileSequence++;
  }

  /** Part of a packet was handed on: nothing can follow it but its rest. */
  get midPacket(): boolean {
    return this.#bodyLeft > 0 || this.#continues;
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
    this.#data = data;
    this.#spanStart = 0;
    this.#digestFrom = 0;
    const at = this.#scan(data);
    this.#data = NOTHING;
    this.#passJoined();
    if (this.#phase === 'done') {
      this.#sink = null;
      return at < data.length ? data.subarray(at) : null;
    }
    if (at < data.length) this.#carry = Buffer.from(data.subarray(at)); // the chunk may be read into again
    return null;
  }

  /** Looks at the chunk's packets, one after the other. Returns where the first that is not complete begins. */
  #scan(data: Buffer): number {
    const { length: bytes } = data;
    let at = 0;
    while (this.#phase !== 'done') {
      if (this.#bodyLeft > 0) {
        const step = Math.min(this.#bodyLeft, bytes - at);
        at += step;
        this.#bodyLeft -= step;
        if (this.#bodyLeft > 0) break;
        if (this.#packetPassed()) this.#insertEof(at, this.lastSequence + 1, this.#status);
        continue;
      }
      const bodyAt = at + HEADER_BYTES;
      if (bodyAt > bytes) break;
      const length = (data[at] as number) | ((data[at + 1] as number) << 8) | ((data[at + 2] as number) << 16);
      if (this.#continues) {
        this.#pass(data, at, length);
        at = bodyAt;
        if (length === 0 && this.#packetPassed()) this.#insertEof(at, this.lastSequence + 1, this.#status);
        continue;
      }
      if (length > 0 && bodyAt === bytes) break;
      const head = length === 0 ? -1 : (data[bodyAt] as number);
      if (!this.#mustInspect(head, length)) {
        if (this.#owesEof) this.#insertEof(at, (data[at + 3] as number) + this.#shift, this.#status);
        if (this.#phase === 'rows') this.#rows++;
        this.#pass(data, at, length);
        at = bodyAt;
        if (length === 0 && this.#packetPassed()) this.#insertEof(at, this.lastSequence + 1, this.#status);
        continue;
      }
      if (length > MAX_INSPECTED_BYTES) throw new ScanError(`a packet of ${length} bytes where a short one belongs`);
      const end = bodyAt + length;
      if (end > bytes) break;
      if (this.#digests) this.#addToDigest(at, end);
      const passedEnd = this.#inspect(data, at, end, head);
      if (passedEnd < end) {
        this.#passSpan(passedEnd);
        this.#spanStart = end;
      }
      at = end;
    }
    if (this.#digests) this.#addToDigest(at, at);
    this.#passSpan(at);
    return at;
  }

  /** What was passed up to `at`; it goes on at `next`. */
  #addToDigest(at: number, next: number): void {
    if (at > this.#digestFrom) this.digest = crc32(this.#data.subarray(this.#digestFrom, at), this.digest);
    this.#digestFrom = next;
  }

  /** Passes what was looked at and not yet passed, up to `end`. */
  #passSpan(end: number): void {
    const start = this.#spanStart;
    const data = this.#data;
    this.#spanStart = end;
    if (end <= start) return;
    const bytes = end - start;
    if (this.#joining && bytes <= JOIN_BYTES) {
      const at = this.#room(bytes);
      data.copy(this.#pool, at, start, end);
      return;
    }
    this.#passJoined();
    const whole = start === 0 && end === data.length;
    (this.#sink as ScannerSink).forward(whole ? data : data.subarray(start, end));
  }

  #passJoined(): void {
    if (!this.#joining) return;
    this.#joining = false;
    if (this.#poolAt === this.#joinedAt) return;
    (this.#sink as ScannerSink).forward(this.#pool.subarray(this.#joinedAt, this.#poolAt));
  }

  /** A place of `bytes` in the pool, behind what was joined so far. */
  #room(bytes: number): number {
    if (this.#poolAt + bytes > this.#pool.length) {
      this.#passJoined();
      this.#pool = Buffer.allocUnsafeSlow(Math.max(bytes, POOL_BYTES));
      this.#poolAt = 0;
    }
    if (!this.#joining) {
      this.#joining = true;
      this.#joinedAt = this.#poolAt;
    }
    const at = this.#poolAt;
    this.#poolAt += bytes;
    return at;
  }

  /** Passes the span up to `at`, where something is about to be put in. */
  #cut(at: number): void {
    if (!this.#joining && at - this.#spanStart <= JOIN_BYTES) {
      this.#joining = true;
      this.#joinedAt = this.#poolAt;
    }
    this.#passSpan(at);
  }

  /** Puts a packet of our own in, behind the span up to `at`. `sequence` is the client's. */
  #insert(at: number, payload: Buffer, sequence: number): void {
    this.#cut(at);
    const room = this.#room(HEADER_BYTES + payload.length);
    this.#writeHeader(this.#pool, room, payload.length, sequence);
    payload.copy(this.#pool, room + HEADER_BYTES);
  }

  #writeHeader(into: Buffer, at: number, length: number, sequence: number): void {
    this.lastSequence = sequence & 0xff;
    into[at] = length & 0xff;
    into[at + 1] = (length >> 8) & 0xff;
    into[at + 2] = length >> 16;
    into[at + 3] = this.lastSequence;
  }

  /** Puts the EOF in that the client is owed, behind the span up to `at`. `sequence` is the client's. */
  #insertEof(at: number, sequence: number, status: number): void {
    this.#owesEof = false;
    this.#cut(at);
    const room = this.#room(HEADER_BYTES + EOF_PAYLOAD_BYTES);
    // A server would say here whether more results follow and a cursor is open. Neither is known before the rows have
    // passed, and the EOF behind them says it; to claim it here might make a client wait for what does not come.
    this.#writeEof(this.#pool, room, sequence, status & ~CURSOR_AND_MORE, 0);
    this.#shift++;
  }

  #writeEof(into: Buffer, at: number, sequence: number, status: number, warnings: number): void {
    this.#writeHeader(into, at, EOF_PAYLOAD_BYTES, sequence);
    const told = status & ~ServerStatus.SESSION_STATE_CHANGED;
    into[at + HEADER_BYTES] = 0xfe;
    into[at + HEADER_BYTES + 1] = warnings & 0xff;
    into[at + HEADER_BYTES + 2] = warnings >> 8;
    into[at + HEADER_BYTES + 3] = told & 0xff;
    into[at + HEADER_BYTES + 4] = (told >> 8) & 0xff;
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
   * Looks at a whole packet, of `data` from `at` to `end`. Returns up to where the client gets it: its end, or less
   * where it was written anew in its place or is kept from the client.
   */
  #inspect(data: Buffer, at: number, end: number, head: number): number {
    if (head === 0xff) return this.#inspectError(data, at, end);
    if (this.#phase === 'rows' || this.#phase === 'definitions') return this.#inspectEnd(data, at, end);
    if (this.#shape === 'prepare') return this.#inspectPrepared(data, at, end);
    if (head === 0x00) return this.#inspectOk(data, at, end, 0x00);
    if (head === 0xfe) return this.#inspectEnd(data, at, end); // COM_SET_OPTION, COM_DEBUG
    if (head === 0xfb) {
      this.#phase = 'infile';
      this.#fileSequence = (data[at + 3] as number) + 1;
      this.#askedForFile = true;
      (this.#sink as ScannerSink).localInfile();
      return this.#verbatim(data, at, end);
    }
    this.#definitions = columnCount(data, at + HEADER_BYTES, end);
    this.#afterDefinitions = 'rows';
    this.#phase = 'definitions';
    this.#rows = 0;
    return this.#verbatim(data, at, end);
  }

  /** The packet stays in the span as it is, but for its number. */
  #verbatim(data: Buffer, at: number, end: number): number {
    const sequence = ((data[at + 3] as number) + this.#shift) & 0xff;
    this.lastSequence = sequence;
    data[at + 3] = sequence;
    return end;
  }

  #inspectError(data: Buffer, at: number, end: number): number {
    const error = understood(() => parseErr(data.subarray(at + HEADER_BYTES, end)));
    const nothingShown = this.#phase === 'first' && this.#results === 0 && !this.#askedForFile;
    // The columns were shown; the error stands where the rows would.
    if (this.#owesEof) this.#insertEof(at, (data[at + 3] as number) + this.#shift, this.#status);
    const show = (this.#sink as ScannerSink).error(error, nothingShown);
    this.#phase = 'done';
    return show ? this.#verbatim(data, at, end) : at;
  }

  #inspectOk(data: Buffer, at: number, end: number, header: 0x00 | 0xfe): number {
    const ok = this.#readOk(data, at, end);
    this.#next(ok.status);
    const changes = ok.sessionStateBytes > 0 ? understood(() => parseSessionState(ok.sessionState)) : NO_CHANGES;
    (this.#sink as ScannerSink).ok(ok, changes);
    if (ok.textEnd === end && (ok.status & ServerStatus.SESSION_STATE_CHANGED) === 0) {
      return this.#verbatim(data, at, end);
    }
    const sessionState = defaultSessionState(changes);
    if (sessionState.length === 0) return this.#withoutState(data, at, ok);
    const { affectedRows, insertId, status, warnings, info } = ok;
    const fields = { affectedRows, insertId, status, warnings, info, sessionState };
    const payload = encodeOk(fields, this.#clientCapabilities, header);
    const sequence = (data[at + 3] as number) + this.#shift;
    if (payload.length > end - at - HEADER_BYTES) {
      this.#insert(at, payload, sequence);
      return at;
    }
    this.#writeHeader(data, at, payload.length, sequence);
    payload.copy(data, at + HEADER_BYTES);
    return at + HEADER_BYTES + payload.length;
  }

  /** Cuts the session state off, in place. */
  #withoutState(data: Buffer, at: number, ok: OkReader): number {
    data.writeUInt16LE(ok.status & ~ServerStatus.SESSION_STATE_CHANGED, ok.statusAt);
    this.#writeHeader(data, at, ok.textEnd - at - HEADER_BYTES, (data[at + 3] as number) + this.#shift);
    return ok.textEnd;
  }

  #readOk(data: Buffer, at: number, end: number): OkReader {
    const ok = this.#ok;
    try {
      ok.read(data, at + HEADER_BYTES, end, true);
    } catch (error) {
      throw asScanError(error);
    }
    this.inTransaction = (ok.status & ServerStatus.IN_TRANS) !== 0;
    if (this.#hidesTransaction) {
      ok.status &= ~(ServerStatus.IN_TRANS | ServerStatus.IN_TRANS_READONLY);
      data.writeUInt16LE(ok.status, ok.statusAt);
    }
    this.#status = ok.status;
    return ok;
  }

  /** The packet that ends a result set: OK in the place of EOF. */
  #inspectEnd(data: Buffer, at: number, end: number): number {
    if (!this.#legacyEof) return this.#inspectOk(data, at, end, 0xfe);
    const rows = this.#phase === 'rows';
    const owed = this.#owesEof;
    const ok = this.#readOk(data, at, end);
    const { status, warnings } = ok;
    this.#next(status);
    const changes = ok.sessionStateBytes > 0 ? understood(() => parseSessionState(ok.sessionState)) : NO_CHANGES;
    (this.#sink as ScannerSink).ok(ok, changes);
    const sequence = data[at + 3] as number;
    // The client's open cursor has no rows here: the EOF behind the columns is the end, and says so.
    if (owed && rows && !(this.#opensCursor && (status & CURSOR_AND_MORE) === ServerStatus.CURSOR_EXISTS)) {
      this.#insertEof(at, sequence + this.#shift, status);
    }
    this.#owesEof = false;
    // An OK packet is two bytes longer at least.
    this.#writeEof(data, at, sequence + this.#shift, status, warnings);
    return at + HEADER_BYTES + EOF_PAYLOAD_BYTES;
  }

  /** https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_prepare.html */
  #inspectPrepared(data: Buffer, at: number, end: number): number {
    const start = at + HEADER_BYTES;
    if (end - start < 12 || data[start] !== 0x00) throw new ScanError('an answer to COM_STMT_PREPARE that is none');
    const columns = data.readUInt16LE(start + 5);
    const parameters = data.readUInt16LE(start + 7);
    const warnings = data.readUInt16LE(start + 10);
    const shown = (this.#sink as ScannerSink).prepared(data.readUInt32LE(start + 1), parameters, columns, warnings);
    data.writeUInt32LE(shown, start + 1);
    if (columns + parameters === 0) {
      this.#phase = 'done';
    } else {
      this.#phase = 'definitions';
      this.#prepareColumns = columns;
      this.#definitions = parameters > 0 ? parameters : columns;
      this.#afterDefinitions = parameters > 0 && columns > 0 ? 'prepare-columns' : 'done';
    }
    return this.#verbatim(data, at, end);
  }

  #next(status: number): void {
    this.#results++;
    this.#phase = this.#shape === 'result' && (status & ServerStatus.MORE_RESULTS_EXISTS) !== 0 ? 'first' : 'done';
  }
}

/** Fields that cannot be read make the answer a broken one. */
function asScanError(error: unknown): unknown {
  if (!(error instanceof MalformedPacket || error instanceof ProtocolError)) return error;
  return new ScanError(error.message, { cause: error });
}

function understood<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw asScanError(error);
  }
}

function columnCount(data: Buffer, at: number, end: number): number {
  const head = data[at] as number;
  if (head < 0xfb && end === at + 1) return head;
  if (head === 0xfc && end === at + 3) return data.readUInt16LE(at + 1);
  throw new ScanError('a column count that is none');
}
