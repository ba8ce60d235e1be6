// Walks over a statement's tokens and notes, whatever the statement is, what matters anywhere in it: user and system
// variables, calls, locking clauses, INTO. The handlers of single verbs (statements.ts, set.ts) only steer it.

import { T } from './kinds.ts';
import { type Dialect, Lexer } from './lexer.ts';
import { variableName } from './names.ts';
import { TRAIT, traitsOf, W } from './words.ts';

/** What was noted, as bits; the first ones are the flags of a classification in FLAG_NAMES' order. */
export const F = {
  temporaryTable: 1,
  namedLock: 2,
  setsUserVariable: 4,
  usesUserVariable: 8,
  asksPrevious: 16,
  calcFoundRows: 32,
  unknownFunction: 64,
  chain: 128,
  release: 256,
  readOnly: 512,
  setsLastInsertId: 1024,
  implicitCommit: 2048,
  setsOneShotTransaction: 4096,
  globalScope: 8192,
  touchesSessionTracking: 16384,
  asksInsertId: 1 << 15,
  asksDiagnostics: 1 << 16,
  asksCounts: 1 << 17,
  asksConnection: 1 << 18,
  connectionId: 1 << 19,
  setsRole: 1 << 20,
  setsNames: 1 << 21,
  handler: 1 << 22,
  mayRelease: 1 << 23,
  dropsTable: 1 << 24,
  renamesTable: 1 << 25,
  setsUnreported: 1 << 26,
  asksServer: 1 << 27,
  // Not flags of the classification:
  /** FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE. */
  locking: 1 << 28,
  /** INTO OUTFILE, INTO DUMPFILE; a sequence's next value. */
  writes: 1 << 29,
  /** INTO of anything else. */
  into: 1 << 30,
  /** Something that keeps a read from being run again, without a flag of its own. */
  notAgain: 1 << 31,
} as const;

/** What a question about the statements before notes: its own flag and the union of all. */
export const ASKS = {
  insertId: F.asksPrevious | F.asksInsertId,
  diagnostics: F.asksPrevious | F.asksDiagnostics,
  counts: F.asksPrevious | F.asksCounts,
  /** A sequence's last value, a GTID: what an earlier write left in this very connection. */
  written: F.asksPrevious | F.asksInsertId | F.asksConnection,
  /** SHOW PROFILE. */
  profile: F.asksPrevious | F.asksDiagnostics | F.asksConnection,
} as const;

/** More user variables than this in one text are not followed: the statement is `unknown`. */
export const MAX_USER_VARIABLES = 256;

/** What must be noted already for WAIT or NOWAIT to be MariaDB's clause. */
const WAITS = F.locking | F.implicitCommit | F.temporaryTable;
const NATIVE = TRAIT.mysqlFunction | TRAIT.mariadbFunction;

/** The state of one classification. One is used again and again; it holds nothing between two. */
export class Cursor {
  readonly lexer = new Lexer();
  mariadb = false;
  /** Bits of F. */
  noted = 0;
  /** The current token's kind. */
  token = 0;
  /** Depth of parentheses behind the current token, within the statement. */
  depth = 0;
  /** Names of the user variables that are written. */
  written: string[] = [];
  /** What KILL with a literal names. */
  kill: { connectionId: number; queryOnly: boolean } | undefined;
  /** The meaning is in doubt for a reason other than the lexer's. */
  doubtful = false;

  /** Every user variable that is mentioned counts as written (CALL, EXECUTE … USING, GET DIAGNOSTICS). */
  variablesAreWritten = false;
  /** `x@y` is an account's name (GRANT, CREATE USER …). */
  accounts = false;
  /** In the list of a WITH, or in CREATE INDEX … ON: a name in front of a parenthesis at depth 0 is not called. */
  declaresNames = false;

  #previous = 0;
  #previousWord = 0;
  #previousStart = 0;
  #previousStop = 0;
  #variableStart = 0;
  #variableStop = 0;
  #chainDeclares = false;
  #chainDotted = false;
  #inSystemVariable = false;
  #intoList = false;
  /** What is read may be more than what is sent: OFFSET, `LIMIT 1, 2`, a limit of queries that are put together. */
  findsMore = false;
  #limited = false;
  #joined = false;
  /** The last token was the mark of `SQL%`. */
  #sqlMark = false;
  /** Where the parenthesis of a LAST_INSERT_ID( stands whose argument comes next; -1 for none. */
  #lastInsertIdOpen = -1;

  open(text: Uint8Array, dialect: Dialect): void {
    this.lexer.open(text, dialect);
    this.mariadb = dialect.mariadb;
    this.noted = 0;
    this.findsMore = false;
    this.#limited = false;
    this.#joined = false;
    this.written = [];
    this.doubtful = false;
    this.kill = undefined;
    this.startStatement();
  }

  /** Forgets what belongs to the statement before, not what was noted. */
  startStatement(): void {
    this.token = T.semicolon;
    this.depth = 0;
    this.variablesAreWritten = false;
    this.accounts = false;
    this.declaresNames = false;
    this.#previous = T.semicolon;
    this.#previousWord = 0;
    // A text may begin with the dot of a name whose beginning is not there.
    this.#chainDeclares = false;
    this.#chainDotted = false;
    this.#inSystemVariable = false;
    this.#intoList = false;
    this.#lastInsertIdOpen = -1;
    this.#sqlMark = false;
  }

  /** The number of the current token if it is a word, else 0; a name behind a dot is no word. */
  get word(): number {
    return this.token === T.word && this.#previous !== T.dot ? this.lexer.word : 0;
  }

  /** The kind of the token before the current one. */
  get previous(): number {
    return this.#previous;
  }

  /** The word before the current token, 0 where it was none. */
  get previousWord(): number {
    return this.#previousWord;
  }

  /** The statement ends here. */
  get ended(): boolean {
    return this.token === T.end || this.token === T.semicolon;
  }

  /** Steps to the next token, noting what it means. Does not step over the statement's end. */
  next(): number {
    const before = this.token;
    this.#previousWord = this.word;
    this.#previous = before;
    this.#previousStart = this.lexer.start;
    this.#previousStop = this.lexer.stop;
    const token = this.lexer.next();
    this.token = token;
    switch (token) {
      case T.word:
      case T.quoted:
        this.#onName(token === T.word);
        break;
      case T.open:
        this.depth++;
        if (before === T.word || before === T.quoted) this.#onOpen();
        break;
      case T.close:
        this.depth--;
        break;
      case T.comma:
        this.findsMore ||= this.#limited;
        break;
      case T.userVariable:
        this.#onUserVariable();
        break;
      case T.systemVariable:
        this.#inSystemVariable = true;
        this.noted |= F.asksServer;
        this.#onSystemVariable();
        break;
      case T.dot:
        this.#onDot(before);
        break;
      case T.assign:
        if (before === T.userVariable) this.#write();
        break;
      default:
        break;
    }
    this.#sqlMark = token === T.other && this.#previousWord === W.sql;
    if (this.#previousWord === W.into && token !== T.userVariable && (this.noted & F.writes) === 0)
      this.noted |= F.into;
    if (this.#lastInsertIdOpen >= 0 && this.#lastInsertIdOpen !== this.lexer.start) {
      this.noted |= token === T.close ? ASKS.insertId : F.setsLastInsertId;
      this.#lastInsertIdOpen = -1;
    }
    if (token !== T.comma && token !== T.userVariable && !(token === T.word && this.lexer.word === W.into)) {
      this.#intoList = false;
    }
    return token;
  }

  /** Steps to the statement's end. */
  rest(): void {
    while (!this.ended) this.next();
  }

  /** Notes that the user variable of the current or the last token is written. */
  writesVariable(): void {
    this.#write();
  }

  #onName(unquoted: boolean): void {
    const dotted = this.#previous === T.dot;
    const traits = unquoted && !dotted ? traitsOf(this.lexer.word) : 0;
    if (dotted) {
      this.#chainDotted = true;
      if (this.#inSystemVariable) this.#onSystemVariable();
      if (unquoted && this.mariadb) this.#onSequenceName();
      return;
    }
    this.#chainDotted = false;
    this.#inSystemVariable = false;
    this.#chainDeclares =
      this.#previous === T.close || (this.#previous === T.word && (traitsOf(this.#previousWord) & TRAIT.namer) !== 0);
    if ((traits & TRAIT.action) !== 0) this.#onAction();
  }

  /** `performance_schema.threads` is another one on every server. */
  #onDot(before: number): void {
    let word = 0;
    if (before === T.word) word = this.#previousWord;
    else if (before === T.quoted) word = this.lexer.quotedWord(this.#previousStart, this.#previousStop);
    if ((traitsOf(word) & TRAIT.systemSchema) !== 0) this.noted |= F.asksServer;
  }

  #onAction(): void {
    const before = this.#previousWord;
    switch (this.lexer.word) {
      case W.update:
        if (before === W.for) this.noted |= F.locking;
        else if (this.#previous === T.open) this.doubtful = true;
        break;
      case W.delete:
        if (this.#previous === T.open) this.doubtful = true;
        break;
      case W.share:
        if (before === W.for || before === W.in) this.noted |= F.locking;
        break;
      case W.into:
        this.#intoList = true;
        break;
      case W.outfile:
      case W.dumpfile:
        if (before === W.into) this.noted |= F.writes;
        break;
      case W.procedure:
        this.noted |= F.notAgain;
        break;
      case W.sql_calc_found_rows:
        this.noted |= F.calcFoundRows;
        break;
      case W.rowcount:
        // SQL%ROWCOUNT of MariaDB's Oracle mode.
        if (this.mariadb && this.#sqlMark) this.noted |= ASKS.counts;
        break;
      case W.value:
        // NEXT VALUE FOR s, PREVIOUS VALUE FOR s.
        if (!this.mariadb) break;
        if (before === W.next) this.noted |= F.writes;
        else if (before === W.previous) this.noted |= ASKS.written;
        break;
      case W.limit:
      case W.fetch:
        this.#limited = true;
        this.findsMore ||= this.#joined;
        break;
      case W.union:
      case W.except:
      case W.intersect:
        this.#joined = true;
        this.findsMore ||= this.#limited;
        break;
      case W.offset:
        this.findsMore = true;
        break;
      case W.returning:
        // Of an INSERT of MariaDB, whose answer then tells no id.
        if (this.mariadb) this.noted |= F.setsLastInsertId;
        break;
      case W.wait:
      case W.nowait:
        // DDL and locking reads of MariaDB: other time-outs for one statement, which it reports as if they stayed.
        if (this.mariadb && (this.noted & WAITS) !== 0) this.noted |= F.setsUnreported;
        break;
      default:
        break;
    }
  }

  /** `s.NEXTVAL` and `s.CURRVAL` of MariaDB's Oracle mode. */
  #onSequenceName(): void {
    if (this.lexer.word === W.nextval) this.noted |= F.writes;
    else if (this.lexer.word === W.currval) this.noted |= ASKS.written;
  }

  /** A parenthesis behind a name: is something called, and what? */
  #onOpen(): void {
    if (this.#chainDeclares || (this.declaresNames && this.depth === 1)) return;
    if (this.#chainDotted || this.#previous === T.quoted) {
      this.noted |= F.unknownFunction;
      if (!this.#chainDotted) this.#onQuotedCall();
      return;
    }
    const word = this.#previousWord;
    const traits = traitsOf(word);
    const native = this.mariadb ? TRAIT.mariadbFunction : TRAIT.mysqlFunction;
    if ((traits & native) !== 0) {
      const adjacent = this.mariadb ? TRAIT.mariadbAdjacent : TRAIT.mysqlAdjacent;
      if ((traits & adjacent) !== 0 && this.#previousStop !== this.lexer.start) this.noted |= F.unknownFunction;
      if (word === W.connection_id) this.noted |= F.connectionId;
      if ((traits & TRAIT.ofServer) !== 0) this.noted |= F.asksServer;
      return;
    }
    if (!this.#isKeyword(traits)) this.#onSpecialCall(word);
  }

  #isKeyword(traits: number): boolean {
    return (traits & (this.mariadb ? TRAIT.mariadbKeyword : TRAIT.mysqlKeyword)) !== 0;
  }

  /** A native function may be called by its quoted name, too. */
  #onQuotedCall(): void {
    const word = this.lexer.quotedWord(this.#previousStart, this.#previousStop);
    if (word === W.connection_id) this.noted |= F.connectionId;
    else if (word !== 0 && (traitsOf(word) & NATIVE) === 0) this.#onSpecialCall(word);
  }

  #onSpecialCall(word: number): void {
    switch (word) {
      case W.release_lock:
      case W.release_all_locks:
        this.noted |= F.namedLock | F.mayRelease;
        return;
      case W.get_lock:
      case W.is_free_lock:
      case W.is_used_lock:
        this.noted |= F.namedLock;
        return;
      case W.last_insert_id:
        this.#lastInsertIdOpen = this.lexer.start;
        return;
      case W.found_rows:
      case W.row_count:
        this.noted |= ASKS.counts;
        return;
      case W.nextval:
      case W.setval:
        this.noted |= this.mariadb ? F.writes : F.unknownFunction;
        return;
      case W.lastval:
      case W.wsrep_last_seen_gtid:
      case W.wsrep_last_written_gtid:
        this.noted |= this.mariadb ? ASKS.written : F.unknownFunction;
        return;
      default:
        this.noted |= F.unknownFunction;
    }
  }

  #onSystemVariable(): void {
    const { start, stop } = this.lexer;
    const quoted = this.token === T.quoted || this.lexer.word === 0;
    const word = quoted ? this.lexer.quotedWord(start, stop) : this.lexer.word;
    if ((traitsOf(word) & TRAIT.tellingVariable) === 0) return;
    switch (word) {
      case W.pseudo_thread_id:
        this.noted |= F.connectionId;
        return;
      case W.warning_count:
      case W.error_count:
        this.noted |= ASKS.diagnostics;
        return;
      case W.last_gtid:
        this.noted |= ASKS.written;
        return;
      default:
        this.noted |= ASKS.insertId;
    }
  }

  #onUserVariable(): void {
    this.#variableStart = this.lexer.start;
    this.#variableStop = this.lexer.stop;
    if (this.accounts && this.#followsAccountName()) return;
    this.noted |= F.usesUserVariable;
    if (this.variablesAreWritten || this.#intoList) this.#write();
  }

  #followsAccountName(): boolean {
    if (this.#previous === T.string || this.#previous === T.quoted) return true;
    return this.#previous === T.word && !this.#isKeyword(traitsOf(this.#previousWord));
  }

  #write(): void {
    this.noted |= F.setsUserVariable;
    const name = variableName(this.lexer, this.#variableStart, this.#variableStop);
    if (name === undefined || this.written.length >= MAX_USER_VARIABLES) this.doubtful = true;
    else if (!this.written.includes(name)) this.written.push(name);
  }
}
