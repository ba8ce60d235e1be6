// How verbs print: plain lines that fit a terminal and survive a pipe. No colour, so that logs stay readable.

export interface Output {
  out(line: string): void;
  err(line: string): void;
}

export const terminal: Output = {
  out: (line) => void process.stdout.write(`${line}\n`),
  err: (line) => void process.stderr.write(`${line}\n`),
};

/** Control characters from a server's text must not reach the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ');
}

export function shorten(text: string, length: number): string {
  const flat = printable(text);
  return flat.length <= length ? flat : `${flat.slice(0, length - 1)}…`;
}

/** Rows with their columns lined up, two blanks between; the last column is not padded. */
export function table(rows: readonly (readonly string[])[], indent = ''): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length);
  }
  return rows.map((row) =>
    `${indent}${row.map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0))).join('  ')}`.trimEnd(),
  );
}

/** `4 ms`, `1.25 s`, `3 min 5 s` */
export function showMs(ms: number): string {
  if (ms < 1000) return `${Math.round(ms * 10) / 10} ms`;
  if (ms < 60_000) return `${Math.round(ms / 10) / 100} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

export function showLag(lagMs: number | null): string {
  return lagMs === null ? '?' : showMs(lagMs);
}
