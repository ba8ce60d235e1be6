// The GTID that was chosen on a server connection, and what goes ahead of the statement that opens a transaction under it.
// A connection on which one is chosen is not for others before it is put away.
//
// A number is used again only where it is certain that it was not used: a server skips what comes under a number that it
// has, without a word. A rollback alone does not make it certain, since a table without transactions keeps what it has.
import { BEGIN, type QuietCommand } from '../quiet.ts';
import type { ServerConnection } from '../server-connection.ts';
import { chooseGtid, putGtidAway, verb, type Witness, type Witnesses, wasExecuted } from './witness.ts';

/** What such a command is for, in the words of an error. */
export const CHOOSES_GTID = 'gtid_next';
export const NOTHING: readonly QuietCommand[] = [];

export class Chosen {
  /** Goes ahead of the next statement. */
  opening: readonly QuietCommand[] = NOTHING;
  /** Where one is chosen. */
  on: ServerConnection | null = null;
  #witness: Witness | null = null;
  #tracks = false;
  #witnesses: Witnesses;

  constructor(witnesses: Witnesses) {
    this.#witnesses = witnesses;
  }

  /** `own`: an autocommit write's, which no BEGIN of the client's opens. */
  choose(link: ServerConnection, witness: Witness | null, own: boolean): void {
    const opening = this.on === link ? this.rollback(link) : [];
    if (witness?.kind === 'gtid') {
      opening.push({ packet: link.query(chooseGtid(witness, !own)), what: CHOOSES_GTID });
      this.on = link;
      this.#witness = witness;
      this.#tracks = !own;
    }
    if (own) opening.push({ packet: link.query(BEGIN), what: 'BEGIN' });
    this.opening = opening;
  }

  /**
   * With the next statement, where nobody knows whether a transaction is open under the number that was chosen: if one is,
   * that number stays. It may have been used, so it is not chosen twice. `chosen`: it is this one now.
   */
  chooseAgain(link: ServerConnection, witness: Witness, chosen: () => void): void {
    const ok = (): void => {
      this.#witness = witness;
      chosen();
    };
    const failed = (): void => this.#witnesses.giveBack(witness, 'unused');
    this.opening = [{ packet: link.query(chooseGtid(witness, false)), what: CHOOSES_GTID, ok, failed }];
  }

  /** With the next statement. */
  putAway(link: ServerConnection): void {
    if (this.on === link) this.opening = this.rollback(link);
  }

  /** Ends what is open on the link; what the server numbers from then on it numbers itself. `ok`: of the ROLLBACK. */
  rollback(link: ServerConnection, ok?: QuietCommand['ok']): QuietCommand[] {
    const rollback = { packet: link.query(verb('ROLLBACK')), what: 'rollback' };
    const commands: QuietCommand[] = [ok === undefined ? rollback : { ...rollback, ok }];
    if (this.on !== link) return commands;
    commands.push(this.#away(link));
    const witness = this.#witness;
    if (witness?.kind === 'gtid') {
      commands.push({
        packet: link.query(wasExecuted(witness)),
        what: 'whether a number was used',
        row: (row) => {
          if (row?.values[0] === '0') this.#witnesses.giveBack(witness, 'unused');
        },
        failed: () => {},
      });
    }
    this.forget();
    return commands;
  }

  /** Behind a COMMIT. */
  away(link: ServerConnection): QuietCommand[] {
    if (this.on !== link) return [];
    this.forget();
    return [this.#away(link)];
  }

  #away(link: ServerConnection): QuietCommand {
    return { packet: link.query(putGtidAway(this.#tracks)), what: CHOOSES_GTID };
  }

  /** The connection is gone: whether the number was used nobody knows. `asked`: it is to be asked about. */
  lost(asked: Witness | null): void {
    if (this.#witness !== asked) this.abandon();
    this.forget();
  }

  /** Nobody will ask. */
  abandon(): void {
    if (this.on !== null && this.#witness !== null) this.#witnesses.abandon(this.#witness, this.on.profile);
  }

  /** It was used, or will be known to be. */
  forget(): void {
    this.on = null;
    this.#witness = null;
  }
}
