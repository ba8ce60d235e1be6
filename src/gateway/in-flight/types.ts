// What the guard has to do with: the statement of a session, as it sees it, and the transaction that is open. No more than
// data and what course.ts needs to know of it.
import type { NodeAddress } from '../../messages/index.ts';
import type { ErrPacket, Packet } from '../../wire/index.ts';
import type { ServerRequest } from '../command.ts';
import type { Loss, ServerConnection } from '../server-connection.ts';
import type { Way } from '../split.ts';
import type { Interrupted } from './course.ts';
import type { Recording } from './recording.ts';
import type { Witness } from './witness.ts';

/** A statement of the session, as the guard sees it. */
export interface Guarded {
  readonly request: ServerRequest;
  readonly packet: Packet;
  readonly deadlineMs: number;
  readonly way: Way;
  /** Its client left, or it has had its answer. */
  readonly over: boolean;
  /** It has committed what was open before it: it is not undone any more, whatever becomes of the rest of it. */
  committed: boolean;
  /** The guard does something of its own on the link; what becomes of the statement it says itself. */
  busy(): void;
  /** On to the server with it. */
  proceed(link: ServerConnection): void;
  /** True once: another number may be free for it (taken-number.ts). */
  takesAnotherNumber(err: ErrPacket): boolean;
  /** It waits for a server that takes it. */
  again(loss: Loss | null): void;
  /** Its answer is OK. */
  succeed(warnings?: number): void;
  /** Its answer is this one, which the server gave before. */
  answer(pieces: readonly Buffer[]): void;
  fail(err: ErrPacket): void;
}

export interface Transaction {
  /** Null: its server was lost. */
  link: ServerConnection | null;
  readonly own: boolean;
  /** Whose beginning it was: what is sent ahead may be answered before it is sent itself. */
  opener: Guarded | null;
  witness: Witness | null;
  /** MariaDB: for its commit, if it writes. */
  reserved: Witness | null;
  /** Null for an autocommit write's own, which is that one statement. */
  readonly recording: Recording | null;
  /** It was begun so. */
  readonly readOnly: boolean;
  sent: Interrupted['sent'];
  wrote: boolean;
  /** Its commit was sent without a witness: nobody can be asked about it. */
  unwitnessed: boolean;
  /** A member of a group refused its commit, which the group may have agreed on all the same. */
  refused: { node: NodeAddress; err: ErrPacket } | null;
  /** What an autocommit write answered. */
  held: readonly Buffer[];
  /** A write that was sent, of which nobody knows. A table without transactions may have it. */
  unanswered: boolean;
  /** User variables whose values went with its server. */
  variables: readonly string[];
  /** Those of which nobody knew when it began. */
  readonly unreadBefore: readonly string[];
  /** What follows its commit. */
  after: (link: ServerConnection) => void;
}

/** `shown`: part of the answer that was under way had reached the client. */
export function interrupted({ sent, own, wrote, recording }: Transaction, shown: boolean): Interrupted {
  return { sent, own, wrote, shown, replayable: own || recording?.fault === null };
}
