// A network that can be cut, for those who are not root: everybody reaches a node through a relay of ours, at an address by
// which the node is known to all. A cut link swallows everything and closes nothing, as the network between two hosts does;
// only that a new connection is still accepted, and then hears nothing, is otherwise. Who connects is told by whose socket
// it is.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import {
  freePorts,
  killNode,
  type SandboxInfo,
  type SandboxNode,
  sandboxStatus,
  startNode,
} from '../../../src/sandbox/index.ts';
import { EVENKEEL, type Network, type Party, regroup, sameNode } from './network.ts';

interface Link {
  from: Party;
  to: Party;
  near: Socket;
  far: Socket | null;
}

export class Relays implements Network {
  readonly sandbox: SandboxInfo;
  readonly #real: SandboxInfo;
  #servers: Server[] = [];
  readonly #links = new Set<Link>();
  readonly #cut = new Set<string>();
  #pids = new Map<Party, number>();

  private constructor(real: SandboxInfo, ports: readonly number[]) {
    this.#real = real;
    this.sandbox = { ...real, nodes: real.nodes.map((node, index) => ({ ...node, port: ports[index] ?? 0 })) };
  }

  /** Lays the network in front of a fresh sandbox; its first node stays primary. */
  static async lay(real: SandboxInfo): Promise<Relays> {
    const network = new Relays(real, await freePorts(real.nodes.length));
    try {
      await network.#listen();
      await network.#readdress();
      return network;
    } catch (error) {
      network.close();
      throw error;
    }
  }

  real(node: SandboxNode): SandboxNode {
    return sameNode(this.#real, node);
  }

  cut(one: Party, other: Party): void {
    for (const pair of [`${one} ${other}`, `${other} ${one}`]) this.#cut.add(pair);
    for (const link of this.#links) this.#settle(link);
  }

  mend(): void {
    this.#cut.clear();
    for (const link of this.#links) this.#settle(link);
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const { near, far } of this.#links) {
      near.destroy();
      far?.destroy();
    }
  }

  async #listen(): Promise<void> {
    for (const node of this.sandbox.nodes) {
      const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (near) => this.#accept(near, node));
      this.#servers.push(server);
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(node.port, node.host, resolve);
      });
    }
  }

  #accept(near: Socket, node: SandboxNode): void {
    const link: Link = { from: this.#partyOf(near), to: node.name, near, far: null };
    this.#links.add(link);
    near.on('error', () => this.#drop(link));
    near.on('close', () => this.#drop(link));
    this.#settle(link);
  }

  #settle(link: Link): void {
    const { from, to, near } = link;
    if (this.#cut.has(`${from} ${to}`)) {
      near.pause();
      link.far?.pause();
      return;
    }
    if (link.far === null) {
      const { host, port } = this.#real.nodes.find(({ name }) => name === to) as SandboxNode;
      const far = dial({ host, port, allowHalfOpen: true });
      link.far = far;
      far.on('error', () => this.#drop(link));
      far.on('close', () => this.#drop(link));
      near.on('data', (bytes: Buffer) => far.write(bytes)).on('end', () => far.end());
      far.on('data', (bytes: Buffer) => near.write(bytes)).on('end', () => near.end());
    }
    near.resume();
    link.far.resume();
  }

  #drop(link: Link): void {
    if (!this.#links.delete(link)) return;
    // Across a cut link nobody hears that the other end is gone.
    if (this.#cut.has(`${link.from} ${link.to}`)) this.#links.add({ ...link });
    else {
      link.near.destroy();
      link.far?.destroy();
    }
  }

  /** The node whose process has the other end of this connection; else somebody who is none. */
  #partyOf(near: Socket): Party {
    const inode = inodeOf(near.remotePort ?? 0, near.localPort ?? 0);
    for (const [name, pid] of this.#pids) if (inode !== null && holds(pid, inode)) return name;
    return EVENKEEL;
  }

  /** Makes the nodes tell the relays' addresses as theirs, and follow each other there. */
  async #readdress(): Promise<void> {
    const { dir } = this.#real;
    const readdressed = this.sandbox.nodes.map(async ({ name, port }) => {
      const file = join(dir, name, 'my.cnf');
      await writeFile(file, (await readFile(file, 'utf8')).replace(/^report_port=.*$/m, `report_port=${port}`));
      await killNode(dir, name, 'SIGTERM');
      await startNode(dir, name, { bound: true });
    });
    await Promise.all(readdressed);
    const { nodes } = await sandboxStatus(dir);
    this.#pids = new Map(nodes.map(({ name, pid }) => [name, pid ?? -1]));
    await regroup(this);
  }
}

/** Of the socket at `port` that is connected to `peer`, both on this machine (proc_net_tcp(5)). */
function inodeOf(port: number, peer: number): string | null {
  const hex = (number: number): string => number.toString(16).toUpperCase().padStart(4, '0');
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n')) {
    const [, local, remote, , , , , , , inode] = line.trim().split(/\s+/);
    if (local?.endsWith(`:${hex(port)}`) && remote?.endsWith(`:${hex(peer)}`)) return inode ?? null;
  }
  return null;
}

function holds(pid: number, inode: string): boolean {
  const dir = `/proc/${pid}/fd`;
  for (const fd of readdirSync(dir)) {
    try {
      if (readlinkSync(join(dir, fd)) === `socket:[${inode}]`) return true;
    } catch {
      // closed meanwhile
    }
  }
  return false;
}
