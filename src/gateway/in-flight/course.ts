// What is done about a transaction whose server was lost: pure. The rule behind the tables: nothing is run again that may
// have been executed, nothing is called executed that was not found to be, and a client that was shown something is never
// shown anything else.
//
// | when the server was lost           | asked first | found executed | found not executed                    |
// |------------------------------------|-------------|----------------|---------------------------------------|
// | an autocommit write, no COMMIT yet | yes         | answer gone    | it runs again                         |
// | its COMMIT                         | yes         | its answer     | it runs again                         |
// | an open transaction                | if it wrote | unknown        | replayed; 1213 where that cannot be   |
// | its COMMIT                         | if it wrote | OK             | replayed, then COMMIT; 1213 as above  |
//
// "Found not executed" counts only where every table is covered by transactions; else the outcome is unknown.
import { broken } from '../../messages/index.ts';

/** What was sent last. */
export type Sent =
  /** An autocommit write in a transaction of its own. */
  | 'own-write'
  /** The commit of whatever it was. */
  | 'commit'
  /** A statement in an open transaction, or nothing since the last one's answer. */
  | 'statement';

export interface Interrupted {
  sent: Sent;
  /** It is an autocommit write. */
  own: boolean;
  /** Something may have been written. */
  wrote: boolean;
  /** Part of the answer that was under way has reached the client. */
  shown: boolean;
  /** It can be run again, and nothing was lost with the server that it needs. */
  replayable: boolean;
}

export type Told = 'executed' | 'not-executed' | 'untold';

export type Next =
  /** The new server is asked. */
  | { do: 'ask' }
  /** From the beginning: nobody was shown anything of it. */
  | { do: 'run-again' }
  | { do: 'replay' }
  /** The answer that is known, or OK. */
  | { do: 'answer' }
  | { do: 'fail'; verdict: 'transaction-lost' | 'outcome-unknown' | 'answer-lost' };

const fail = (verdict: 'transaction-lost' | 'outcome-unknown' | 'answer-lost'): Next => ({ do: 'fail', verdict });

export function whenLost(was: Interrupted): Next {
  if (was.sent === 'statement' && (was.shown || !was.replayable)) return fail('transaction-lost');
  if (was.wrote) return broken === 'resend-on-loss' ? whenTold(was, 'not-executed', true) : { do: 'ask' };
  // A commit of nothing: whether it came to it or not is the same.
  return was.sent === 'commit' ? { do: 'answer' } : { do: 'replay' };
}

/** `covered`: no table can have kept what was rolled back. */
export function whenTold(was: Interrupted, told: Told, covered: boolean): Next {
  switch (told) {
    case 'executed':
      if (was.sent === 'commit') return { do: 'answer' };
      return fail(was.own ? 'answer-lost' : 'outcome-unknown');
    case 'untold':
      return fail('outcome-unknown');
    case 'not-executed':
      if (!covered) return fail('outcome-unknown');
      if (was.own) return { do: 'run-again' };
      return was.replayable ? { do: 'replay' } : fail('transaction-lost');
  }
}
