// How far the primary has come, for reads that are to see whatever anybody has written (`causal: global`), through this worker
// or not. The question is asked on a connection of its own; what comes while one is under way waits for the next, whose answer
// cannot be older than what it may have heard of. So it costs a read a round trip or two, and a worker one question at a time.
import type { Flavor, NodeAddress } from '../messages/index.ts';
import { askPosition } from './causality.ts';
import { runQuietly } from './quiet.ts';
import type { Connect, LoginProfile, ServerConnection } from './server-connection.ts';

/** A primary that says nothing for so long is not waited for: reads go to it themselves, and share its fate. */
const ANSWER_MS = 1000;

/** Takes GTIDs as the server writes them; null: they could not be had. */
type Taker = (position: string | null) => void;

/** One cluster's. */
export class PrimaryPosition {
  #link: ServerConnection | null = null;
  /** Whom the question that is under way is for. */
  #asking: Taker[] = [];
  /** Who came since. */
  #waiting: Taker[] = [];
  #timer: NodeJS.Timeout | undefined;
  #connect: Connect;
  #answerMs: number;

  constructor(connect: Connect, answerMs = ANSWER_MS) {
    this.#connect = connect;
    this.#answerMs = answerMs;
  }

  /** `profile`: an account that may log in there; it needs no privilege. `take` is called once, later. */
  ask(flavor: Flavor, primary: NodeAddress, profile: LoginProfile, take: Taker): void {
    if (this.#link !== null && this.#link.node !== primary) this.close();
    this.#waiting.push(take);
    this.#timer ??= setTimeout(() => this.close(), this.#answerMs);
    this.#link ??= this.#connect(primary, profile, {
      onReady: () => this.#advance(flavor),
      onLost: () => this.#lost(),
    });
    this.#advance(flavor);
  }

  close(): void {
    this.#link?.lose({ kind: 'closed', detail: 'no longer needed' });
  }

  #advance(flavor: Flavor): void {
    const link = this.#link;
    if (link === null || !link.ready || this.#asking.length > 0 || this.#waiting.length === 0) return;
    this.#asking = this.#waiting;
    this.#waiting = [];
    let position: string | null = null;
    const row = (answer: { values: (string | null)[] } | null): void => {
      position = answer?.values[0] ?? null;
    };
    runQuietly(link, [{ packet: link.query(askPosition(flavor)), what: 'causal', row }], ({ kind }) => {
      if (kind === 'lost') return; // they have been told
      this.#stopTimer();
      if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.close(), this.#answerMs);
      const takers = this.#asking;
      this.#asking = [];
      this.#advance(flavor); // on its way while these go on
      for (const take of takers) take(position);
      // It may be the account's own limit: whoever asks next asks by its own.
      if (kind === 'error') this.close();
    });
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #lost(): void {
    this.#stopTimer();
    this.#link = null;
    const takers = [...this.#asking, ...this.#waiting];
    this.#asking = [];
    this.#waiting = [];
    // Not within the call of who asks.
    setImmediate(() => {
      for (const take of takers) take(null);
    });
  }
}
