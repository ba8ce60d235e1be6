// Readers of option values, for commander's argParser.
import { InvalidArgumentError } from 'commander';
import { UsageError } from './failure.ts';

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It is not a whole number from ${min} to ${max}.`);
  };
}

/** `10s`, `30m`: in milliseconds. Rejects with a UsageError that names the option. */
export async function durationMs(option: string, text: string, range: { min: number; max: number }): Promise<number> {
  const { Complaint, readDuration } = await import('../config/index.ts');
  const value = readDuration(text, range);
  if (value instanceof Complaint) throw new UsageError(`${option} ${value.toString()}`);
  return value;
}
