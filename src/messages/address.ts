// The address of a node, taken apart and put together; an IPv6 host stands in brackets.
import type { NodeAddress } from './index.ts';

/** Host and port of `host:port` or `[v6]:port`; the port is 3306 where none is given. */
export function splitAddress(node: NodeAddress): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d{1,5}))?$/.exec(node);
  if (match === null) return { host: node, port: 3306 }; // a bare IPv6 address
  return { host: match[1] ?? match[2] ?? '', port: Number(match[3] ?? 3306) };
}

/** The way back; IPv6 hosts get their brackets. */
export function joinAddress(host: string, port: number): NodeAddress {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
