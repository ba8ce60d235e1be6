// A disk of its own for a node's data: a small one, which can be filled and emptied (a tmpfs), or one that stops answering and
// goes on later (ext4 in a file, frozen). Mounting them needs root, or sudo that asks for no password.
import { execFileSync } from 'node:child_process';
import { statfsSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { SandboxNode } from '../../../src/sandbox/index.ts';
import type { Evenkeel } from './evenkeel.ts';
import { until } from './until.ts';

export interface SmallDisk {
  fill(): void;
  empty(): Promise<void>;
}

export interface StallingDisk {
  /** Nothing that is written to it ends from now on; its processes cannot be killed meanwhile. */
  stall(): void;
  goOn(): void;
}

function asRoot(command: string, ...args: string[]): void {
  const words = process.getuid?.() === 0 ? [command, ...args] : ['sudo', '-n', command, ...args];
  execFileSync(words[0] ?? '', words.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Moves a replica's data to a disk of `sizeMib`, starts it there, runs `work`, and takes the disk away again. */
export async function onSmallDisk(
  evenkeel: Evenkeel,
  node: SandboxNode,
  sizeMib: number,
  work: (disk: SmallDisk) => Promise<void>,
): Promise<void> {
  const mount = (data: string): void =>
    asRoot('mount', '-t', 'tmpfs', '-o', `size=${sizeMib}m,mode=0777`, 'tmpfs', data);
  await onDisk(evenkeel, node, mount, (data) => {
    const filler = join(data, 'filler');
    return work({
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
  });
}

/** The same with a disk that can be made to stall. */
export async function onStallingDisk(
  evenkeel: Evenkeel,
  node: SandboxNode,
  work: (disk: StallingDisk) => Promise<void>,
): Promise<void> {
  const image = join(evenkeel.sandbox.dir, `${node.name}.image`);
  const file = await open(image, 'w');
  await file.truncate(1024 * 1024 * 1024);
  await file.close();
  asRoot('mkfs.ext4', '-q', '-F', '-m', '0', image);
  const mount = (data: string): void => {
    asRoot('mount', '-o', 'loop', image, data);
    asRoot('chmod', '0777', data);
    asRoot('rmdir', join(data, 'lost+found')); // a server would take it for a schema
  };
  await onDisk(evenkeel, node, mount, async (data) => {
    let stalled = false;
    const turn = (to: boolean): void => {
      if (stalled !== to) asRoot('fsfreeze', to ? '--freeze' : '--unfreeze', data);
      stalled = to;
    };
    try {
      await work({ stall: () => turn(true), goOn: () => turn(false) });
    } finally {
      turn(false);
    }
  });
}

async function onDisk(
  evenkeel: Evenkeel,
  node: SandboxNode,
  mount: (data: string) => void,
  work: (data: string) => Promise<void>,
): Promise<void> {
  const data = join(evenkeel.sandbox.dir, node.name, 'data');
  const aside = `${data}.aside`;
  await evenkeel.signalNode(node, 'SIGTERM');
  await rename(data, aside);
  await mkdir(data);
  mount(data);
  try {
    execFileSync('cp', ['-a', `${aside}/.`, data]);
    await evenkeel.restartNode(node);
    await work(data);
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
