// What stands at the top of a .cpuprofile: functions by the time spent in themselves, to be read in a terminal.
//   node bench/support/top-of-profile.ts FILE [HOW-MANY]
import { readFileSync } from 'node:fs';
import { table } from './figures.ts';

interface ProfileNode {
  id: number;
  callFrame: { functionName: string; url: string; lineNumber: number };
  children?: number[];
}

interface CpuProfile {
  nodes: ProfileNode[];
  /** A node's id a sample. */
  samples: number[];
  /** Microseconds since the sample before. */
  timeDeltas: number[];
}

/** A table of the `count` functions with the most time of their own; time that was idle is no part of it. */
export function topOfProfile(text: string, count: number): string {
  const { nodes, samples, timeDeltas } = JSON.parse(text) as CpuProfile;
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const own = new Map<string, number>();
  samples.forEach((id, i) => {
    const name = names.get(id) ?? '?';
    // A sample stands for the time up to the next one.
    own.set(name, (own.get(name) ?? 0) + (timeDeltas[i + 1] ?? 0));
  });
  const idleUs = own.get('(idle)') ?? 0;
  own.delete('(idle)');
  own.delete('(root)');
  const busyUs = [...own.values()].reduce((total, us) => total + us, 0);
  const rows = [...own]
    .toSorted((a, b) => b[1] - a[1])
    .slice(0, count)
    .map(([name, us]) => [((us / Math.max(1, busyUs)) * 100).toFixed(1), (us / 1000).toFixed(0), name]);
  const busy = `busy ${(busyUs / 1e6).toFixed(2)} s, idle ${(idleUs / 1e6).toFixed(2)} s`;
  return `${busy}\n${table(['self %', 'ms', 'function'], rows)}`;
}

function nameOf({ functionName, url, lineNumber }: ProfileNode['callFrame']): string {
  const name = functionName === '' ? '(anonymous)' : functionName;
  if (url === '') return name;
  const file = url.replace(/^file:\/\//, '').replace(/^.*\/(?=(?:src|node_modules)\/)/, '');
  return `${name} ${file}:${lineNumber + 1}`;
}

if (import.meta.main) {
  const [file, count = '40'] = process.argv.slice(2);
  if (file === undefined || !/^\d+$/.test(count)) {
    process.stderr.write('usage: node bench/support/top-of-profile.ts FILE [HOW-MANY]\n');
    process.exitCode = 2;
  } else process.stdout.write(`${topOfProfile(readFileSync(file, 'utf8'), Number(count))}\n`);
}
