// A session's LAST_INSERT_ID(): the value, or where it is. It is read from the server only where it is asked for, or before
// it would be written over. An OK packet tells an id also of a row that came with its own, which LAST_INSERT_ID() is not:
// then it is what it was before, wherever that is.

interface DoubtfulInsertId {
  readonly link: object;
  readonly claim: bigint;
  readonly earlier: readonly bigint[];
  readonly there: bigint | null;
  /** If it is not this one either, it is not known. */
  readonly lost: boolean;
}

interface InsertIdHolder {
  insertIdOf: InsertId | null;
  insertIdVersion: number;
  insertIdValue: bigint | null;
}

/** Claims that are remembered while nothing tells them apart; then the value is read. */
const MAX_EARLIER = 8;

export class InsertId {
  /** LAST_INSERT_ID(), as far as it was read. */
  insertId = 0n;
  /** The server connection that has LAST_INSERT_ID() where it was not read yet: an OK packet's id may be another one. */
  insertIdOn: object | null = null;
  /** What an OK packet called it: of a row that came with an id of its own, too, and then it is not. 0: there is no doubt. */
  insertIdClaim = 0n;
  /** Claims before it on the same connection, any of which may be the value: kept where it is not known what was there. */
  #earlier: readonly bigint[] = [];
  /** What that connection had before, if that is known. */
  #insertIdThere: bigint | null = null;
  /** Where it is should the claim be false, and nobody has read that either. */
  insertIdBefore: DoubtfulInsertId | null = null;
  /** It was lost with its server connection. */
  insertIdLost = false;
  /** It was, and something has run since that may have set it: where the connection has none, it is lost still. */
  #lostIfNone = false;
  /** Grows with every new value. */
  insertIdVersion = 0;
  /** Grows with every `settledInsertId`: what was asked before is of what was there before. */
  insertIdSettled = 0;

  /** The server connection has a value that was not read yet. `claim`: what an OK packet called it, where it may not be. */
  insertIdIsOn(link: InsertIdHolder, claim = 0n): void {
    const had = link.insertIdOf === this && link.insertIdVersion === this.insertIdVersion;
    const lost = this.insertIdLost || this.#lostIfNone;
    if (claim === 0n || (had && this.insertIdClaim === 0n)) {
      this.#certain();
    } else if (had) {
      this.#claimAgain(claim);
    } else {
      const { insertIdOn: before, insertIdClaim, insertIdBefore } = this;
      const doubt = { claim: insertIdClaim, there: this.#insertIdThere, lost: insertIdBefore !== null };
      this.insertIdBefore = before === null ? null : { link: before, earlier: this.#earlier, ...doubt };
      this.insertIdClaim = claim;
      this.#earlier = [];
      this.#insertIdThere = link.insertIdValue;
    }
    this.#lostIfNone = lost && (claim === 0n || had);
    this.insertIdOn = link;
    link.insertIdOf = this;
    link.insertIdVersion = ++this.insertIdVersion;
    link.insertIdValue = null;
  }

  #claimAgain(claim: bigint): void {
    if (this.#insertIdThere === null && claim !== this.insertIdClaim) {
      // One statement may tell more of them than that: if it is none of those that are known, nothing is.
      if (this.#earlier.length >= MAX_EARLIER) this.insertIdLost = true;
      this.#earlier = [...this.#earlier.slice(1 - MAX_EARLIER), this.insertIdClaim];
    }
    this.insertIdClaim = claim;
  }

  /** Its value on the connection is to be read, lest there are more claims than are remembered. */
  get insertIdCrowded(): boolean {
    return this.#earlier.length >= MAX_EARLIER;
  }

  /** What the connection has is not to be taken for the session's before it was read. */
  get insertIdInDoubt(): boolean {
    return this.#lostIfNone;
  }

  #certain(): void {
    this.#lostIfNone = false;
    this.insertIdClaim = 0n;
    this.#earlier = [];
    this.insertIdBefore = null;
    this.insertIdLost = false;
  }

  /** SQL that makes the connection's value, where it is not the session's, the one that is known. From now on there is no doubt. */
  settledInsertId(): string {
    const here = `LAST_INSERT_ID() IN (${[this.insertIdClaim, ...this.#earlier].join(', ')})`;
    const there = this.#insertIdThere === null ? '' : ` OR LAST_INSERT_ID()<>${this.#insertIdThere}`;
    this.#certain();
    this.insertIdSettled++;
    return `DO LAST_INSERT_ID(IF(${here}${there}, LAST_INSERT_ID(), ${this.insertId}))`;
  }

  /** A value on the connection is to be read before it is written over. */
  hasUnreadInsertIdOn(link: object): boolean {
    return this.insertIdOn === link || this.insertIdBefore?.link === link;
  }

  /** It was read. */
  readInsertId(link: object, value: bigint): void {
    if (this.insertIdOn === link) {
      if (this.#lostIfNone && value === 0n) return this.loseInsertId();
      if (isOwn(value, this.insertIdClaim, this.#earlier, this.#insertIdThere)) return this.knowInsertId(value);
      const before = this.insertIdBefore;
      this.insertIdVersion++; // no connection has it
      this.insertIdOn = before?.link ?? null;
      this.insertIdClaim = before?.claim ?? 0n;
      this.#earlier = before?.earlier ?? [];
      this.#insertIdThere = before?.there ?? null;
      this.insertIdLost ||= before?.lost ?? false;
      this.insertIdBefore = null;
      if (before?.link === link) this.readInsertId(link, value); // in doubt twice on the same connection
    } else if (this.insertIdBefore?.link === link) {
      const { claim, earlier, there, lost } = this.insertIdBefore;
      this.insertIdBefore = null;
      if (isOwn(value, claim, earlier, there)) {
        this.insertId = value;
        this.insertIdLost = false;
      } else this.insertIdLost ||= lost;
    }
  }

  knowInsertId(value: bigint): void {
    this.insertId = value;
    this.insertIdOn = null;
    this.#certain();
  }

  /** The connection that had it is gone, or the session. */
  loseInsertId(): void {
    this.insertIdVersion++; // no connection has it
    this.knowInsertId(0n);
    this.insertIdLost = true;
  }
}

/** A value that was generated is one of those that were told, or at least another one than before. */
function isOwn(value: bigint, claim: bigint, earlier: readonly bigint[], there: bigint | null): boolean {
  return claim === 0n || value === claim || earlier.includes(value) || (there !== null && value !== there);
}
