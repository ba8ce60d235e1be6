// Who may ask. Listening on loopback, reading is open to every local process, so a web page in a local browser must be
// kept out: its requests carry the page's own host name (DNS rebinding). Listening elsewhere, reading needs the token.
// Changing anything needs the token, everywhere.
import { createHash, timingSafeEqual } from 'node:crypto';

export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

/** Takes as long for a token that is nearly right as for one that is not. */
export function sameToken(given: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

/** The token of an `Authorization: Bearer …` header; null where there is none. */
export function bearerToken(header: string | undefined): string | null {
  return /^Bearer +(\S+) *$/i.exec(header ?? '')?.[1] ?? null;
}

/** Whether a request with this Host header may be answered by a server that listens on `listenHost`. */
export function hostAllowed(header: string | undefined, listenHost: string): boolean {
  // Elsewhere than on loopback the token keeps foreign pages out, and the name we are known by is not ours to know.
  if (!isLoopbackHost(listenHost)) return true;
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]+))(?::\d{1,5})?$/.exec(header ?? '');
  return match !== null && isLoopbackHost((match[1] ?? match[2] ?? '').toLowerCase());
}
