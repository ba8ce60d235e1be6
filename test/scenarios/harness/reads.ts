// Who answers reads, by the servers' own counts.
import type { SandboxNode } from '../../../src/sandbox/index.ts';
import type { Evenkeel } from './evenkeel.ts';
import { directly } from './load.ts';

/** Statements that a node has been asked, by its own count. */
export async function selectsOn(evenkeel: Evenkeel, node: SandboxNode): Promise<number> {
  const [rows] = await directly(evenkeel, node, "SHOW GLOBAL STATUS LIKE 'Com_select'");
  return Number(rows[0]?.['Value']);
}

/** Where a number of reads were answered, one after the other: `true` where replicas were asked for nearly all of them. */
export async function leavesPrimary(
  evenkeel: Evenkeel,
  reads: number,
  read: (n: number) => Promise<unknown>,
): Promise<boolean> {
  const primary = await evenkeel.primary();
  const before = await selectsOn(evenkeel, primary);
  for (let n = 0; n < reads; n++) await read(n);
  return (await selectsOn(evenkeel, primary)) - before < reads / 2;
}
