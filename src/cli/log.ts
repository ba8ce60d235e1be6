// The log of `start`: JSON lines on stderr, or plain lines where stderr is a terminal. Written asynchronously and bounded,
// so that a reader that has stopped reading cannot stop the process that decides about failovers.
import { type Logger, pino } from 'pino';
import { printable } from './output.ts';

const MAX_BUFFERED_BYTES = 4 * 1024 * 1024;

const LEVELS: Record<number, string> = { 20: 'debug', 30: 'info', 40: 'warn', 50: 'error', 60: 'fatal' };

/** `12:00:01.123 warn  message key=value` */
export function plainLine(json: string): string {
  const { level, time, msg, pid: _pid, hostname: _hostname, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const at = new Date(Number(time)).toISOString().slice(11, 23);
  const shown = Object.entries(fields).map(([key, value]) => {
    if (key === 'err' && typeof value === 'object' && value !== null && 'message' in value) {
      return `err=${JSON.stringify(value.message)}`;
    }
    return `${key}=${typeof value === 'string' && /^[\w.:@/-]+$/.test(value) ? value : JSON.stringify(value)}`;
  });
  const name = (LEVELS[Number(level)] ?? 'info').padEnd(5);
  return `${at} ${name} ${printable([typeof msg === 'string' ? msg : '', ...shown].join(' '))}\n`;
}

export function createLog(level: string, terminal: boolean): { log: Logger; flush: () => void } {
  const destination = pino.destination({ dest: 2, sync: false, maxLength: MAX_BUFFERED_BYTES });
  // A log that cannot be written (a closed pipe) is no reason to stop serving.
  destination.on('error', () => {});
  const stream = terminal ? { write: (line: string) => void destination.write(plainLine(line)) } : destination;
  const flush = () => {
    try {
      destination.flushSync();
    } catch {
      // Never opened, or closed: there is nothing left to lose.
    }
  };
  return { log: pino({ level, base: { pid: process.pid } }, stream), flush };
}
