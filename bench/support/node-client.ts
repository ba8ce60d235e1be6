// The same point selects from this process, over mysql2: what an application in Node.js sees. One statement at a time
// on each connection.
import mysql, { type Connection } from 'mysql2/promise';
import { percentile, sum } from './stats.ts';
import type { Measured, Protocol, Target } from './sysbench.ts';

const TABLE_ROWS = 10_000;
/** A minute at 30,000 a second. */
const MAX_SAMPLES = 2_000_000;

export async function measureFromNode(
  target: Target,
  protocol: Protocol,
  clients: number,
  seconds: number,
): Promise<Measured> {
  const connections = await Promise.all(Array.from({ length: clients }, () => mysql.createConnection(target)));
  const samples: number[] = [];
  const begun = performance.now();
  try {
    await Promise.all(connections.map((connection) => ask(connection, protocol, begun + seconds * 1000, samples)));
  } finally {
    for (const connection of connections) connection.destroy();
  }
  const tookSeconds = (performance.now() - begun) / 1000;
  return {
    queries: samples.length,
    seconds: tookSeconds,
    queriesPerSecond: samples.length / tookSeconds,
    meanUs: sum(samples) / Math.max(1, samples.length),
    p50Us: percentile(samples, 50),
    p95Us: percentile(samples, 95),
    p99Us: percentile(samples, 99),
    maxUs: percentile(samples, 100),
  };
}

async function ask(connection: Connection, protocol: Protocol, until: number, samples: number[]): Promise<void> {
  let id = 0;
  for (;;) {
    id = (id + 7919) % TABLE_ROWS;
    const sentMs = performance.now();
    if (sentMs >= until || samples.length >= MAX_SAMPLES) return;
    if (protocol === 'text') await connection.query(`SELECT c FROM sbtest1 WHERE id=${id + 1}`);
    else await connection.execute('SELECT c FROM sbtest1 WHERE id=?', [id + 1]);
    samples.push((performance.now() - sentMs) * 1000);
  }
}
