// A small disk of its own for a node's data, which can be filled and emptied. A tmpfs: mounting one needs root, or sudo
// that asks for no password.
import { execFileSync } from 'node:child_process';
import { statfsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { SandboxNode } from '../../../src/sandbox/index.ts';
import type { Evenkeel } from './evenkeel.ts';
import { until } from './until.ts';

export interface SmallDisk {
  fill(): void;
  empty(): Promise<void>;
}

function asRoot(command: string, ...args: string[]): void {
  const words = process.getuid?.() === 0 ? [command, ...args] : ['sudo', '-n', command, ...args];
  execFileSync(words[0] ?? '', words.slice(1));
}

/** Moves a replica's data to a disk of `sizeMib`, starts it there, runs `work`, and takes the disk away again. */
export async function onSmallDisk(
  evenkeel: Evenkeel,
  node: SandboxNode,
  sizeMib: number,
  work: (disk: SmallDisk) => Promise<void>,
): Promise<void> {
  const data = join(evenkeel.sandbox.dir, node.name, 'data');
  const aside = `${data}.aside`;
  const filler = join(data, 'filler');
  await evenkeel.signalNode(node, 'SIGTERM');
  await rename(data, aside);
  await mkdir(data);
  asRoot('mount', '-t', 'tmpfs', '-o', `size=${sizeMib}m,mode=0777`, 'tmpfs', data);
  try {
    execFileSync('cp', ['-a', `${aside}/.`, data]);
    await evenkeel.restartNode(node);
    await work({
      fill() {
        try {
          execFileSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64k'], { stdio: 'ignore' });
        } catch {
          // It ends with the error that we want.
        }
        try {
          execFileSync('dd', ['if=/dev/zero', `of=${filler}.2`, 'bs=1k'], { stdio: 'ignore' });
        } catch {
          // The same for the last few KiB.
        }
        if (statfsSync(data).bavail > 0) throw new Error('the small disk is not full');
      },
      async empty() {
        await rm(filler, { force: true });
        await rm(`${filler}.2`, { force: true });
      },
    });
  } finally {
    await evenkeel.signalNode(node, 'SIGKILL');
    await until('its process to let go of the disk', 10_000, () => {
      try {
        asRoot('umount', data);
        return true;
      } catch {
        return false;
      }
    });
  }
}
