// Free ports for servers that will be killed and started again: chosen below the range from which the kernel takes
// the ports of outgoing connections. From inside it, a client could be given a killed node's port, and the node could
// not come back (or the client would reach itself). For the same reason they are kept for the process that asked, until it
// ends: the port of a node that is down is nobody else's. Another server there would be taken for the node.
import { randomInt } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { SandboxError } from './errors.ts';
import { cacheDir } from './servers.ts';

const LOWEST = 11_000;
/** Files of this process, each the name of a port that it keeps. */
const kept = new Set<string>();

/** As many different TCP ports on 127.0.0.1 that nobody listens on now, and no other process of ours keeps. */
export async function freePorts(count: number): Promise<number[]> {
  const range = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '32768');
  const ephemeral = Number.parseInt(range, 10);
  const highest = ephemeral > LOWEST + 1000 ? ephemeral : 65_536;
  const ports = new Set<number>();
  for (let tries = 0; ports.size < count; tries += 1) {
    if (tries > 200)
      throw new SandboxError('start-failed', `no free ports between ${LOWEST} and ${highest} on 127.0.0.1`);
    const port = randomInt(LOWEST, highest);
    // In this order: to find out whether it is free is to listen there, and its node may just be coming back.
    if ((await keep(port)) && (await isFree(port))) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** False where another living process keeps it, or this one does already. Where nothing can be written, all are free. */
async function keep(port: number): Promise<boolean> {
  const dir = join(cacheDir(), 'ports');
  const file = join(dir, String(port));
  try {
    await mkdir(dir, { recursive: true });
    const owner = Number(await readFile(file, 'utf8').catch(() => '0'));
    if (owner > 0 && isAlive(owner)) return false;
    // Its process ended without a chance to take it away.
    if (owner > 0) await rm(file, { force: true });
    await writeFile(file, String(process.pid), { flag: 'wx' });
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'EEXIST';
  }
  if (kept.size === 0) process.once('exit', giveBack);
  kept.add(file);
  return true;
}

function giveBack(): void {
  for (const file of kept) rmSync(file, { force: true });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
