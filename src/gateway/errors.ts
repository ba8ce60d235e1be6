// Every error that Evenkeel itself sends to a client, in one table. Each carries a verdict on the statement: whether
// it was executed. `unknown` is for what could not be found out, never for what was not looked for.
import type { ErrPacket } from '../wire/index.ts';

export type Verdict = 'not executed' | 'executed' | 'unknown';

interface ErrorEntry {
  errno: number;
  sqlState: string;
  verdict: Verdict | null;
  text: string;
}

/** Numbers from 9100 on are Evenkeel's own; neither family of servers uses them. */
const CATALOGUE = {
  'hold-timeout': { errno: 9101, sqlState: 'HY000', verdict: 'not executed', text: 'no node could take the statement' },
  'hold-full': { errno: 9102, sqlState: 'HY000', verdict: 'not executed', text: 'too many statements are waiting' },
  'pool-timeout': { errno: 9103, sqlState: 'HY000', verdict: 'not executed', text: 'no server connection became free' },
  'outcome-unknown': {
    errno: 9104,
    sqlState: 'HY000',
    verdict: 'unknown',
    text: 'the server was lost before it answered',
  },
  'answer-lost': {
    errno: 9111,
    sqlState: 'HY000',
    verdict: 'executed',
    text: 'the write was executed, and its answer was lost with the server',
  },
  'answer-cut': {
    errno: 9105,
    sqlState: 'HY000',
    verdict: 'not executed',
    text: 'the server was lost in the middle of the answer to a read',
  },
  'file-cut': {
    errno: 9110,
    sqlState: 'HY000',
    verdict: 'not executed',
    text: 'the server was lost before it had the whole file',
  },
  'transaction-lost': {
    errno: 1213,
    sqlState: '40001',
    verdict: 'not executed',
    text: 'the transaction was rolled back; try restarting transaction',
  },
  'state-lost': {
    errno: 9106,
    sqlState: 'HY000',
    verdict: 'not executed',
    text: 'the session lost what it kept on the server',
  },
  'restore-failed': {
    errno: 9107,
    sqlState: 'HY000',
    verdict: 'not executed',
    text: "the session's state could not be restored on the new server connection",
  },
  'server-login': {
    errno: 9108,
    sqlState: 'HY000',
    verdict: 'not executed',
    text: 'the server did not let this account in through Evenkeel',
  },
  'server-protocol': { errno: 9109, sqlState: 'HY000', verdict: 'unknown', text: 'the server answered nonsense' },
  'bad-hint': {
    errno: 9112,
    sqlState: 'HY000',
    verdict: 'not executed',
    text: 'the hint in the comment, or query attribute, is not understood',
  },
  'refused-by-rule': {
    errno: 9113,
    sqlState: 'HY000',
    verdict: 'not executed',
    text: 'a rule of the configuration refuses the statement',
  },
  'rate-limited': {
    errno: 9114,
    sqlState: 'HY000',
    verdict: 'not executed',
    text: 'a rule of the configuration allows no more such statements in this second',
  },
  'client-limit': { errno: 1040, sqlState: '08004', verdict: null, text: 'Too many connections' },
  'unknown-command': {
    errno: 1047,
    sqlState: '08S01',
    verdict: 'not executed',
    text: 'Evenkeel does not pass this command',
  },
  'unknown-statement': { errno: 1243, sqlState: 'HY000', verdict: 'not executed', text: 'Unknown prepared statement' },
  'unknown-thread': { errno: 1094, sqlState: 'HY000', verdict: null, text: 'Unknown thread id' },
  'kill-denied': { errno: 1095, sqlState: 'HY000', verdict: null, text: 'You are not owner of thread' },
  'packet-too-large': {
    errno: 1153,
    sqlState: '08S01',
    verdict: 'not executed',
    text: "Got a packet bigger than 'max_allowed_packet' bytes",
  },
  'packets-out-of-order': { errno: 1156, sqlState: '08S01', verdict: 'not executed', text: 'Got packets out of order' },
  'malformed-packet': {
    errno: 1835,
    sqlState: 'HY000',
    verdict: 'not executed',
    text: 'Malformed communication packet',
  },
  'handshake-failed': { errno: 1043, sqlState: '08S01', verdict: null, text: 'Bad handshake' },
  'shutting-down': { errno: 1053, sqlState: '08S01', verdict: 'not executed', text: 'Server shutdown in progress' },
} as const satisfies Record<string, ErrorEntry>;

export type GatewayErrorCode = keyof typeof CATALOGUE;

/** All of them, for documentation and tests. */
export const ERROR_CODES = Object.keys(CATALOGUE) as GatewayErrorCode[];

/** What the error says of its statement; null where it is about none. */
export function verdictOf(code: GatewayErrorCode): Verdict | null {
  return CATALOGUE[code].verdict;
}

/** An error's text, to stand in another one that has its own verdict. */
export function withoutVerdict(message: string): string {
  return message.replace(/ \(Evenkeel: [^()]*\)$/, '');
}

/** The ERR packet for `code`; `detail` says what in particular happened. */
export function gatewayError(code: GatewayErrorCode, detail = ''): ErrPacket {
  const entry: ErrorEntry = CATALOGUE[code];
  const more = detail === '' ? '' : `: ${detail}`;
  const verdict = entry.verdict === null ? '' : `; ${entry.verdict}`;
  return {
    errno: entry.errno,
    sqlState: entry.sqlState,
    message: `${entry.text}${more} (Evenkeel: ${code}${verdict})`,
  };
}
