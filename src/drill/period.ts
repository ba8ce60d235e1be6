// What the clients met from one fault to the next, as counts: a drill may last for days.
import { Histogram } from './histogram.ts';

/**
 * A transaction that its client has to expect to be rolled back with 1213. `deadlock`: the server's own. `replay-differed`:
 * run again on another primary, it would have shown something else.
 */
export type Expected = 'deadlock' | 'replay-differed';

export class Period {
  readonly waits = new Histogram();
  readonly expected: Record<Expected, number> = { deadlock: 0, 'replay-differed': 0 };
}
