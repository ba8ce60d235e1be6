// Who answers reads, by the servers' own counts.
import mysql from 'mysql2/promise';
import type { SandboxNode } from '../../../src/sandbox/index.ts';
import type { Evenkeel } from './evenkeel.ts';
import { directly } from './load.ts';
import { until } from './until.ts';

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

/** Endpoints of `route: auto`: `auto`, and `all` with `causal: global`. */
export function autoEndpoints(auto: number, all: number): string {
  return [
    `  - { name: auto, cluster: shop, listen: "127.0.0.1:${auto}", route: auto }`,
    `  - { name: all, cluster: shop, listen: "127.0.0.1:${all}", route: auto, causal: global }`,
  ].join('\n');
}

/** Keeps a replica from applying anything, while it goes on receiving and seems well; until what is returned is called. */
export async function holdBack(evenkeel: Evenkeel, node: SandboxNode, table: string): Promise<() => void> {
  const connection = await mysql.createConnection({ ...evenkeel.direct(node), database: 'app' });
  await connection.query(`LOCK TABLES ${table} READ`);
  return () => connection.destroy();
}

/** Waits until every replica has the table, with what was written into it first. */
export async function replicated(evenkeel: Evenkeel, table: string): Promise<void> {
  const replicas = await evenkeel.replicas();
  await until(`all to have the table ${table}`, 10_000, async () => {
    const counts = await Promise.all(replicas.map((node) => directly(evenkeel, node, `SELECT * FROM app.${table}`)));
    return counts.every(([rows]) => rows.length === 1);
  });
}
