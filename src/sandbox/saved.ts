// What a sandbox remembers of itself: sandbox.json in its directory.
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SandboxError } from './errors.ts';
import type { SandboxInfo } from './types.ts';

export const STATE_FILE = 'sandbox.json';

export interface SavedNode {
  name: string;
  host: string;
  port: number;
  /** Ports on which members of a group speak with each other. */
  peerPorts?: number[];
}

/** What sandbox.json holds. Pids and roles are not in it: they change. */
export interface Saved {
  format: 'evenkeel-sandbox-1';
  flavor: SandboxInfo['flavor'];
  replication: SandboxInfo['replication'];
  admin: SandboxInfo['admin'];
  app: SandboxInfo['app'];
  nodes: SavedNode[];
  /** Names the group of nodes, where they form one. */
  group?: string;
  /** While the cluster is being made: the process that makes it. What it leaves half-made is of no use to anybody. */
  making: number | null;
}

/** The node of that name. Throws where there is none. */
export function named(saved: Saved, name: string): SavedNode {
  const node = saved.nodes.find((candidate) => candidate.name === name);
  if (node === undefined) throw new SandboxError('usage', `the sandbox has no node '${name}'`);
  return node;
}

/** With `wx` it fails where another process was first. */
export async function save(dir: string, saved: Saved, flag: 'w' | 'wx'): Promise<void> {
  const file = join(dir, STATE_FILE);
  const text = `${JSON.stringify(saved, null, 2)}\n`;
  if (flag === 'wx') return writeFile(file, text, { mode: 0o600, flag });
  await writeFile(`${file}.new`, text, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** Null where the directory holds none. */
export async function load(dir: string): Promise<Saved | null> {
  const text = await readFile(join(dir, STATE_FILE), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
    throw new SandboxError('usage', `cannot read ${join(dir, STATE_FILE)}: ${error.message}`);
  });
  if (text === null) return null;
  let saved: Partial<Saved> | null;
  try {
    saved = JSON.parse(text) as Partial<Saved> | null;
  } catch {
    saved = null;
  }
  if (saved?.format !== 'evenkeel-sandbox-1' || !Array.isArray(saved.nodes)) {
    throw new SandboxError('not-a-sandbox', `${join(dir, STATE_FILE)} was not written by this version of evenkeel`);
  }
  return saved as Saved;
}

/** Throws SandboxError `not-a-sandbox`. */
export async function mustLoad(dir: string): Promise<Saved> {
  const saved = await load(dir);
  if (saved === null) throw new SandboxError('not-a-sandbox', `${dir} holds no sandbox`);
  return saved;
}
