// The scalar notations of the configuration: durations, sizes, addresses, names. Each reader takes what YAML
// made of the scalar and returns the value, or a Complaint that says what is wrong and how to mend it.
import { isIP } from 'node:net';

/** What is wrong with a value, and what mends it. Never holds a secret. */
export class Complaint {
  readonly wrong: string;
  readonly mend: string;

  constructor(wrong: string, mend: string) {
    this.wrong = wrong;
    this.mend = mend;
  }

  toString(): string {
    return `${this.wrong}; ${this.mend}`;
  }
}

const DURATION_UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const SIZE_UNITS: Record<string, number> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** How a value of a wrong type is named; shows nothing of the value. */
export function typeName(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value === 'boolean') return 'true or false';
  if (typeof value === 'number') return 'a number';
  return 'text';
}

/** `is missing`, `is empty`, `is a list` … */
export function isWhat(value: unknown): string {
  return `is ${typeName(value)}`;
}

interface Range {
  min: number;
  max: number;
}

function readQuantity(
  value: unknown,
  units: Record<string, number>,
  range: Range,
  what: { kind: string; example: string; show: (n: number) => string },
): number | Complaint {
  const mend = `write ${what.kind} with its unit, such as ${what.example}`;
  if (typeof value === 'number') return new Complaint(`${value} has no unit`, mend);
  if (typeof value !== 'string') return new Complaint(isWhat(value), mend);
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(value.trim());
  if (!match) return new Complaint(`is not ${what.kind}`, mend);
  const [, digits = '', unit = ''] = match;
  if (unit === '') return new Complaint(`${digits} has no unit`, mend);
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (factor === undefined) {
    return new Complaint(`has an unknown unit ${JSON.stringify(unit)}`, `use one of ${Object.keys(units).join(', ')}`);
  }
  const amount = Number(digits) * factor;
  if (!Number.isInteger(amount)) return new Complaint(`is not a whole number of the smallest unit`, mend);
  if (amount < range.min || amount > range.max) {
    return new Complaint(`is out of range`, `choose something from ${what.show(range.min)} to ${what.show(range.max)}`);
  }
  return amount;
}

/** Milliseconds, in the largest unit that shows them without a fraction. */
export function formatDuration(ms: number): string {
  for (const [unit, factor] of Object.entries(DURATION_UNITS).reverse()) {
    if (ms >= factor && ms % factor === 0) return `${ms / factor}${unit}`;
  }
  return `${ms}ms`;
}

function formatSize(bytes: number): string {
  for (const [unit, factor] of Object.entries(SIZE_UNITS).reverse()) {
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return `${bytes}B`;
}

/** `250ms`, `5s`, `1.5s`, `2m`, `1h`, in milliseconds. */
export function readDuration(value: unknown, range: Range): number | Complaint {
  return readQuantity(value, DURATION_UNITS, range, {
    kind: 'a duration',
    example: '250ms or 5s',
    show: formatDuration,
  });
}

/** `512B`, `64KiB`, `16MiB`, `1GiB`, in bytes. */
export function readSize(value: unknown, range: Range): number | Complaint {
  if (typeof value === 'string' && /^\d+\s*[kKMG][bB]?$/.test(value.trim())) {
    return new Complaint('has an ambiguous unit', 'use KiB, MiB or GiB');
  }
  return readQuantity(value, SIZE_UNITS, range, { kind: 'a size', example: '16MiB', show: formatSize });
}

/** A whole number; digits as text (from an environment variable) will do. */
export function readCount(value: unknown, range: Range): number | Complaint {
  const mend = `write a whole number from ${range.min} to ${range.max}`;
  const number = typeof value === 'string' && /^\d{1,15}$/.test(value.trim()) ? Number(value.trim()) : value;
  if (typeof number !== 'number') return new Complaint(isWhat(value), mend);
  if (!Number.isInteger(number)) return new Complaint(`${number} is not a whole number`, mend);
  if (number < range.min || number > range.max) return new Complaint(`${number} is out of range`, mend);
  return number;
}

export interface Address {
  /** Without brackets. */
  host: string;
  port: number;
}

/** `host:port`, with brackets around an IPv6 host. */
export function formatAddress(address: Address): string {
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}

const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$/;

/** Reads `host:port`. Without `defaultPort` the port must be there. `anyPort` lets port 0 (the system chooses) pass. */
export function readAddress(
  value: unknown,
  options: { defaultPort?: number; anyPort?: boolean } = {},
): Address | Complaint {
  const mend = 'write host:port, such as db1:3306 (an IPv6 host in brackets)';
  if (typeof value === 'number') {
    return new Complaint(`${value} is not host:port`, `write the host too, such as 127.0.0.1:${value}`);
  }
  if (typeof value !== 'string') return new Complaint(isWhat(value), mend);
  const text = value.trim();
  if (text.includes('@')) return new Complaint('is not host:port', 'put user and password under `admin:`');
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(text);
  if (!match) return new Complaint(`${JSON.stringify(text)} is not host:port`, mend);
  const [, bracketed, plain = '', digits] = match;
  const host = bracketed ?? plain;
  if (host === '') return new Complaint(`${JSON.stringify(text)} names no host`, mend);
  const numeric = bracketed === undefined && /^[\d.]+$/.test(host);
  if (bracketed !== undefined ? isIP(host) !== 6 : numeric ? isIP(host) !== 4 : !HOST_NAME.test(host)) {
    return new Complaint(`${JSON.stringify(host)} is not a host name or address`, mend);
  }
  if (digits === undefined && options.defaultPort === undefined) {
    return new Complaint(`${JSON.stringify(text)} names no port`, mend);
  }
  const port = digits === undefined ? (options.defaultPort ?? 0) : Number(digits);
  if (port > 65_535 || (port === 0 && options.anyPort !== true)) {
    return new Complaint(`port ${port} is out of range`, 'choose one from 1 to 65535');
  }
  return { host: bracketed === undefined ? host.toLowerCase() : host, port };
}

/** Names of clusters and endpoints: they stand in URLs, metric labels and log lines. */
export function readName(value: unknown): string | Complaint {
  const mend = 'write a name of letters, digits, `_`, `-` and `.`, at most 63';
  if (typeof value !== 'string') return new Complaint(isWhat(value), mend);
  return /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(value) ? value : new Complaint('is not a name', mend);
}

/** Text that may be a secret, so no message shows it. */
export function readSecret(value: unknown): string | Complaint {
  if (typeof value === 'string') return value;
  const mend = value === undefined || value === null ? 'write it, or ${A_VARIABLE} that holds it' : 'put it in quotes';
  return new Complaint(isWhat(value), mend);
}

export function readText(value: unknown, what: string): string | Complaint {
  if (typeof value === 'string' && value !== '') return value;
  return new Complaint(value === '' ? 'is empty' : isWhat(value), `write ${what}`);
}

/** The known word nearest to `word`, if any is near enough to be what was meant. */
export function nearest(word: string, known: readonly string[]): string | null {
  const plain = (text: string) => text.toLowerCase().replace(/[-_ ]/g, '');
  let best: { candidate: string; distance: number } | null = null;
  for (const candidate of known) {
    const distance = editDistance(plain(word), plain(candidate));
    if (distance <= Math.max(1, Math.floor(candidate.length / 3)) && (best === null || distance < best.distance)) {
      best = { candidate, distance };
    }
  }
  return best === null ? null : best.candidate;
}

/** Levenshtein; words longer than any key of ours are never near. */
function editDistance(a: string, b: string): number {
  if (a.length > 40 || b.length > 40) return Number.POSITIVE_INFINITY;
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}
