// What a statement of a transaction finds beside the data, noted while it runs first, so that its replay finds the same.
import { randomInt } from 'node:crypto';
import { readsInsertIdAhead } from '../bring-up.ts';
import type { ServerRequest } from '../command.ts';
import type { SessionState } from '../session.ts';
import { type Circumstances, chanceFor, type Recording } from './recording.ts';

export class Found {
  /** What was set for the RAND() of the statement under way. */
  #chance: string | null = null;
  #counts = { foundRows: 0, rowCount: 0n };
  /** LAST_INSERT_ID(), where it was known without a question. */
  #insertId: bigint | null = null;

  /** The statement sets out. SQL that goes ahead of it so that its replay draws the same; null: there is none. */
  before({ text }: ServerRequest, session: SessionState): string | null {
    const { foundRows, rowCount, insertId, insertIdOn } = session;
    this.#counts = { foundRows, rowCount };
    this.#insertId = insertIdOn === null ? insertId : null;
    this.#chance = chanceFor(text, randomInt);
    return this.#chance;
  }

  /** It has its answer. Null: it asked for what nobody has read. */
  after(sentAtMs: number, { sql }: ServerRequest, session: SessionState, so: Recording | null): Circumstances | null {
    const { asksInsertId, unknownFunction } = sql.flags;
    const insertId = readsInsertIdAhead(sql) ? session.insertId : this.#insertId;
    // Where a function asks for it, it finds what an INSERT of its own transaction leaves again.
    if (insertId === null && (asksInsertId || (unknownFunction && so?.gaveIds !== true))) return null;
    return {
      sentAtMs,
      chance: this.#chance,
      insertId: asksInsertId || unknownFunction ? insertId : null,
      ...this.#counts,
    };
  }
}
