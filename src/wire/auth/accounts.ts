// Which account a login is checked against: the servers' own order, the most specific host first, and anonymous
// accounts after named ones of the same host. There is no name resolution: a host pattern that is a name (other than
// `localhost`, which stands for every loopback address and for a Unix socket) matches only that same word.
import type { Account } from '../../messages/index.ts';

/** `::ffff:10.0.0.1` as `10.0.0.1`, without a zone or brackets, in lower case. An empty address is a Unix socket. */
export function normalizeAddress(address: string): string {
  const bare = address
    .replace(/^\[|\]$/g, '')
    .replace(/%[^%]*$/, '')
    .toLowerCase();
  const mapped = /^(?:::ffff:|0:0:0:0:0:ffff:)(\d{1,3}(?:\.\d{1,3}){3})$/.exec(bare);
  return mapped?.[1] ?? bare;
}

const isLoopback = (address: string): boolean =>
  address === '' || address === 'localhost' || address === '::1' || /^127(?:\.\d{1,3}){3}$/.test(address);

/** The client's host as error messages name it: `localhost` for loopback, as a server that resolves names says. */
export function hostInMessages(clientAddress: string): string {
  const address = normalizeAddress(clientAddress);
  return isLoopback(address) ? 'localhost' : address;
}

function ipv4(text: string): number | null {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  if (parts === undefined || parts.some((part) => part > 255)) return null;
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

/** `address/mask` or, with MySQL 8.0.23 and later, `address/bits`. */
function netmask(host: string): { network: number; mask: number } | null {
  const slash = host.indexOf('/');
  if (slash < 0) return null;
  const network = ipv4(host.slice(0, slash));
  const tail = host.slice(slash + 1);
  const bits = /^\d{1,2}$/.test(tail) ? Number(tail) : null;
  if (bits !== null && bits > 32) return null;
  const mask = bits === null ? ipv4(tail) : bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
  return network === null || mask === null ? null : { network, mask };
}

/** SQL's LIKE with `%`, `_` and `\`, case-insensitive. Linear in the pattern times the text; both are short. */
function like(pattern: string, text: string): boolean {
  const p = Array.from(pattern.toLowerCase());
  const t = Array.from(text.toLowerCase());
  let [i, j, star, mark] = [0, 0, -1, 0];
  while (j < t.length) {
    const escaped = p[i] === '\\' && i + 1 < p.length;
    if (p[i] === '%') {
      star = i++;
      mark = j;
    } else if (escaped ? p[i + 1] === t[j] : i < p.length && (p[i] === '_' || p[i] === t[j])) {
      i += escaped ? 2 : 1;
      j++;
    } else if (star >= 0) {
      i = star + 1;
      j = ++mark;
    } else return false;
  }
  while (p[i] === '%') i++;
  return i === p.length;
}

function hostMatches(host: string, address: string): boolean {
  if (host === '' || host === '%') return true;
  const net = netmask(host);
  if (net !== null) {
    const numeric = ipv4(address);
    return numeric !== null && (numeric & net.mask) >>> 0 === net.network;
  }
  if (isLoopback(address) && like(host, 'localhost')) return true;
  return address !== '' && like(host, address);
}

/**
 * How specific a host pattern is; larger goes first. An exact host before a netmask, a longer mask before a shorter one,
 * then patterns by the length of what stands before the first wildcard, then by total length, then `%`, then the empty one.
 */
function hostRank(host: string): readonly [number, number, number] {
  if (host === '') return [0, 0, 0];
  if (host === '%') return [1, 0, 0];
  const net = netmask(host);
  if (net !== null) return [3, net.mask, 0];
  const wild = host.search(/[%_]/);
  return wild < 0 ? [4, 0, 0] : [2, wild, host.length];
}

/** The order in which a server tries its accounts. */
export function compareAccounts(a: Account, b: Account): number {
  const [rankA, rankB] = [hostRank(a.host), hostRank(b.host)];
  for (const i of [0, 1, 2] as const) {
    if (rankA[i] !== rankB[i]) return rankB[i] - rankA[i];
  }
  return Number(a.user === '') - Number(b.user === '');
}

export type AccountMatch =
  | { kind: 'account'; account: Account }
  /** Another account may log in from there: tell the client no more than "access denied". */
  | { kind: 'none' }
  /** No account at all may log in from there: error 1130, which a server sends instead of its greeting. */
  | { kind: 'host-not-allowed' };

/** `clientAddress` is an IP address, or empty for a Unix socket. Account names are case-sensitive. */
export function matchAccount(accounts: readonly Account[], user: string, clientAddress: string): AccountMatch {
  const address = normalizeAddress(clientAddress);
  let best: Account | null = null;
  let hostKnown = false;
  for (const account of accounts) {
    if (!hostMatches(account.host, address)) continue;
    hostKnown = true;
    if (account.user !== user && account.user !== '') continue;
    if (best === null || compareAccounts(account, best) < 0) best = account;
  }
  if (best !== null) return { kind: 'account', account: best };
  return hostKnown ? { kind: 'none' } : { kind: 'host-not-allowed' };
}

/** May anybody at all log in from there? For the check before the greeting. */
export function hostAllowed(accounts: readonly Account[], clientAddress: string): boolean {
  const address = normalizeAddress(clientAddress);
  return accounts.some((account) => hostMatches(account.host, address));
}
