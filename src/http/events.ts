// The event stream: one bounded ring of what happened last, and for every subscriber a bounded queue. A subscriber that
// reads too slowly is ended, not waited for; it comes back with Last-Event-ID and misses nothing the ring still holds.
import type { ControlEvent } from './api.ts';

export interface NumberedEvent {
  /** `START-N`: N counts from 1, START tells one run of the process from another. */
  id: string;
  event: ControlEvent;
}

const RING_EVENTS = 1024;
const QUEUE_EVENTS = 1024;
const MAX_SUBSCRIBERS = 64;

/** What a subscriber takes next. */
export type Next =
  | { state: 'event'; event: NumberedEvent }
  /** Nothing happened for the time given. */
  | { state: 'quiet' }
  | { state: 'ended'; reason: 'overflow' | 'closed' };

export interface Subscription {
  /** The events since `lastEventId` are lost: the state must be read anew. */
  gap: boolean;
  /** One caller at a time. */
  next(timeoutMs: number): Promise<Next>;
  end(): void;
}

interface Subscriber {
  queue: NumberedEvent[];
  ended: 'overflow' | 'closed' | null;
  wake: (() => void) | null;
}

export class EventStream {
  readonly #start: string;
  readonly #ring: NumberedEvent[] = [];
  readonly #subscribers = new Set<Subscriber>();
  #count = 0;

  /** `start` must differ between runs of the process. */
  constructor(start: string) {
    this.#start = start;
  }

  publish(event: ControlEvent): void {
    this.#count += 1;
    const numbered = { id: `${this.#start}-${this.#count}`, event };
    this.#ring.push(numbered);
    if (this.#ring.length > RING_EVENTS) this.#ring.shift();
    for (const subscriber of this.#subscribers) {
      if (subscriber.queue.length >= QUEUE_EVENTS) this.#end(subscriber, 'overflow');
      else subscriber.queue.push(numbered);
      subscriber.wake?.();
    }
  }

  /** Null where there are too many already. */
  subscribe(lastEventId: string | null): Subscription | null {
    if (this.#subscribers.size >= MAX_SUBSCRIBERS) return null;
    const missed = lastEventId === null ? [] : this.#since(lastEventId);
    const subscriber: Subscriber = { queue: missed ?? [], ended: null, wake: null };
    this.#subscribers.add(subscriber);
    return {
      gap: missed === null,
      next: (timeoutMs) => this.#next(subscriber, timeoutMs),
      end: () => this.#end(subscriber, 'closed'),
    };
  }

  close(): void {
    for (const subscriber of this.#subscribers) this.#end(subscriber, 'closed');
  }

  /** Null where `id` is of another run or no longer in the ring. */
  #since(id: string): NumberedEvent[] | null {
    const dash = id.lastIndexOf('-');
    const number = Number(id.slice(dash + 1));
    if (id.slice(0, dash) !== this.#start || !Number.isInteger(number)) return null;
    const oldest = this.#count - this.#ring.length;
    if (number < oldest || number > this.#count) return null;
    return this.#ring.slice(number - oldest);
  }

  #end(subscriber: Subscriber, reason: 'overflow' | 'closed'): void {
    subscriber.ended ??= reason;
    this.#subscribers.delete(subscriber);
    subscriber.wake?.();
  }

  async #next(subscriber: Subscriber, timeoutMs: number): Promise<Next> {
    if (subscriber.queue.length === 0 && subscriber.ended === null) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, timeoutMs);
      subscriber.wake = resolve;
      await promise;
      subscriber.wake = null;
      clearTimeout(timer);
    }
    if (subscriber.ended !== null) return { state: 'ended', reason: subscriber.ended };
    const event = subscriber.queue.shift();
    return event === undefined ? { state: 'quiet' } : { state: 'event', event };
  }
}
