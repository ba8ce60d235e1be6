// A session's LAST_INSERT_ID(): the value, or where it is. It is read from the server only where it is asked for, or before
// it would be written over. An OK packet tells an id also of a row that came with its own, which LAST_INSERT_ID() is not:
// then it is what it was before, wherever that is.

interface DoubtfulInsertId {
  readonly link: object;
  readonly claim: bigint;
  readonly there: bigint | null;
  /** If it is not this one either, it is not known. */
  readonly lost: boolean;
}

interface InsertIdHolder {
  insertIdOf: InsertId | null;
  insertIdVersion: number;
  insertIdValue: bigint | null;
}

export class InsertId {
  /** LAST_INSERT_ID(), as far as it was read. */
  insertId = 0n;
  /** The server connection that has LAST_INSERT_ID() where it was not read yet: an OK packet's id may be another one. */
  insertIdOn: object | null = null;
  /** What an OK packet called it: of a row that came with an id of its own, too, and then it is not. 0: there is no doubt. */
  insertIdClaim = 0n;
  /** What that connection had before, if that is known. */
  #insertIdThere: bigint | null = null;
  /** Where it is should the claim be false, and nobody has read that either. */
  insertIdBefore: DoubtfulInsertId | null = null;
  /** It was lost with its server connection. */
  insertIdLost = false;
  /** Grows with every new value. */
  insertIdVersion = 0;

  /** The server connection has a value that was not read yet. `claim`: what an OK packet called it, where it may not be. */
  insertIdIsOn(link: InsertIdHolder, claim = 0n): void {
    const had = link.insertIdOf === this && link.insertIdVersion === this.insertIdVersion;
    if (claim === 0n || (had && this.insertIdClaim === 0n)) {
      this.#certain();
    } else if (had) {
      this.insertIdClaim = claim;
    } else {
      const { insertIdOn: before, insertIdClaim, insertIdBefore } = this;
      const doubt = { claim: insertIdClaim, there: this.#insertIdThere, lost: insertIdBefore !== null };
      this.insertIdBefore = before === null ? null : { link: before, ...doubt };
      this.insertIdClaim = claim;
      this.#insertIdThere = link.insertIdValue;
    }
    this.insertIdOn = link;
    link.insertIdOf = this;
    link.insertIdVersion = ++this.insertIdVersion;
    link.insertIdValue = null;
  }

  #certain(): void {
    this.insertIdClaim = 0n;
    this.insertIdBefore = null;
    this.insertIdLost = false;
  }

  /** SQL that makes the connection's value, where it is not the session's, the one that is known. From now on there is no doubt. */
  settledInsertId(): string {
    const here = `LAST_INSERT_ID()=${this.insertIdClaim}`;
    const there = this.#insertIdThere === null ? '' : ` OR LAST_INSERT_ID()<>${this.#insertIdThere}`;
    this.#certain();
    return `DO LAST_INSERT_ID(IF(${here}${there}, LAST_INSERT_ID(), ${this.insertId}))`;
  }

  /** A value on the connection is to be read before it is written over. */
  hasUnreadInsertIdOn(link: object): boolean {
    return this.insertIdOn === link || this.insertIdBefore?.link === link;
  }

  /** It was read. */
  readInsertId(link: object, value: bigint): void {
    if (this.insertIdOn === link) {
      if (isOwn(value, this.insertIdClaim, this.#insertIdThere)) return this.knowInsertId(value);
      const before = this.insertIdBefore;
      this.insertIdVersion++; // no connection has it
      this.insertIdOn = before?.link ?? null;
      this.insertIdClaim = before?.claim ?? 0n;
      this.#insertIdThere = before?.there ?? null;
      this.insertIdLost ||= before?.lost ?? false;
      this.insertIdBefore = null;
    } else if (this.insertIdBefore?.link === link) {
      const { claim, there, lost } = this.insertIdBefore;
      this.insertIdBefore = null;
      if (isOwn(value, claim, there)) {
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
    this.knowInsertId(0n);
    this.insertIdLost = true;
  }
}

/** A value that was generated is the one that was told, or at least another one than before. */
function isOwn(value: bigint, claim: bigint, there: bigint | null): boolean {
  return claim === 0n || value === claim || (there !== null && value !== there);
}
