// A network that can be cut as the network between hosts is: every node has a network namespace of its own, with an address
// of its own on a common bridge (ip-netns(8)); Evenkeel and the clients are where we are. A link is cut by telling both of
// its ends a wrong hardware address of the other: what they send goes nowhere, no connection ends, no attempt is refused.
// Needs root. Each node has a second address, which is never cut and of which only the tests know.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, openSync, readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { killNode, nodeLog, type SandboxInfo, type SandboxNode, sandboxStatus } from '../../../src/sandbox/index.ts';
import { EVENKEEL, type Network, type Party, regroup, sameNode } from './network.ts';
import { until } from './until.ts';

/** Where `ip netns` keeps their names. */
const NAMESPACES = '/run/netns';
const PREFIX = 'evenkeel';
/** Nobody's: locally administered. */
const NOWHERE = '02:de:ad:00:00:01';
const STARTS_MS = 60_000;
const SUBNETS = 256;

const ip = (...words: string[]): string =>
  execFileSync('ip', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

export class Hosts implements Network {
  readonly sandbox: SandboxInfo;
  readonly #real: SandboxInfo;
  /** Of both subnets, 198.18.N.0/24 and 198.19.N.0/24, which are set aside for measurements (RFC 2544). */
  readonly #subnet: number;
  readonly #bridge: string;
  readonly #cut: [from: Party, to: Party][] = [];

  private constructor(sandbox: SandboxInfo, subnet: number) {
    const known = (node: SandboxNode, index: number): SandboxNode => ({
      ...node,
      host: `198.18.${subnet}.${index + 1}`,
    });
    const past = (node: SandboxNode, index: number): SandboxNode => ({
      ...node,
      host: `198.19.${subnet}.${index + 1}`,
    });
    this.sandbox = { ...sandbox, nodes: sandbox.nodes.map(known) };
    this.#real = { ...sandbox, nodes: sandbox.nodes.map(past) };
    this.#subnet = subnet;
    this.#bridge = bridgeOf(subnet);
  }

  /** Moves the servers of a fresh sandbox to hosts of their own; null where that cannot be done here. */
  static async lay(sandbox: SandboxInfo): Promise<Hosts | null> {
    const subnet = takeSubnet();
    if (subnet === null) return null;
    const hosts = new Hosts(sandbox, subnet);
    try {
      hosts.#connect();
      await hosts.#move();
      await regroup(hosts);
      return hosts;
    } catch (error) {
      hosts.close();
      throw error;
    }
  }

  real(node: SandboxNode): SandboxNode {
    return sameNode(this.#real, node);
  }

  cut(one: Party, other: Party): void {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      this.#neighbour(from, 'replace', this.#addressOf(to), 'lladdr', NOWHERE, 'nud', 'permanent');
      this.#cut.push([from, to]);
    }
  }

  mend(): void {
    for (const [from, to] of this.#cut.splice(0)) this.#neighbour(from, 'del', this.#addressOf(to));
  }

  close(): void {
    for (const [index, { name }] of this.sandbox.nodes.entries()) {
      // A namespace lives on for as long as the kernel has something to send from it.
      quietly('link', 'del', this.#portOf(index));
      quietly('netns', 'del', this.#namespaceOf(name));
    }
    quietly('link', 'del', this.#bridge);
  }

  #connect(): void {
    ip('addr', 'add', `198.18.${this.#subnet}.254/24`, 'dev', this.#bridge);
    ip('addr', 'add', `198.19.${this.#subnet}.254/24`, 'dev', this.#bridge);
    ip('link', 'set', this.#bridge, 'up');
    for (const [index, { name, host }] of this.sandbox.nodes.entries()) {
      const [namespace, port] = [this.#namespaceOf(name), this.#portOf(index)];
      ip('netns', 'add', namespace);
      ip('link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
      ip('link', 'set', port, 'master', this.#bridge, 'up');
      for (const address of [host, this.#real.nodes[index]?.host])
        ip('-n', namespace, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
      for (const device of ['lo', 'eth0']) ip('-n', namespace, 'link', 'set', device, 'up');
    }
  }

  /** Each server goes on at its own host, where it tells its own address. */
  async #move(): Promise<void> {
    const { dir } = this.sandbox;
    const { nodes } = await sandboxStatus(dir);
    const moved = this.sandbox.nodes.map(async (node) => {
      const pid = nodes.find(({ name }) => name === node.name)?.pid ?? 0;
      const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').slice(0, -1);
      // An init file is for the first start, and gone.
      const argv = words.filter((word) => !word.startsWith('--init-file'));
      await killNode(dir, node.name, 'SIGTERM');
      const options = join(dir, node.name, 'my.cnf');
      const told = (await readFile(options, 'utf8'))
        .replace(/^bind_address=.*$/m, 'bind_address=*')
        .replace(/^report_host=.*$/m, `report_host=${node.host}`);
      await writeFile(options, told);
      await this.#start(node, argv);
    });
    await Promise.all(moved);
  }

  async #start(node: SandboxNode, argv: readonly string[]): Promise<void> {
    const nodeDir = join(this.sandbox.dir, node.name);
    const there = ['nsenter', `--net=${NAMESPACES}/${this.#namespaceOf(node.name)}`, '--', ...argv];
    const log = openSync(join(nodeDir, 'error.log'), 'a');
    // It ends with us, whatever ends us.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...there], {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: nodeDir,
    });
    child.unref();
    await writeFile(join(nodeDir, 'pid'), `${child.pid}\n`);
    const { host, port } = this.real(node);
    await until(`${node.name} to answer at ${host}:${port}`, STARTS_MS, () => answers(host, port)).catch(
      async (error) => {
        throw new Error(`${(error as Error).message}\n${await nodeLog(this.sandbox.dir, node.name, 20)}`);
      },
    );
  }

  #neighbour(party: Party, ...words: string[]): void {
    if (party === EVENKEEL) ip('neigh', ...words, 'dev', this.#bridge);
    else ip('-n', this.#namespaceOf(party), 'neigh', ...words, 'dev', 'eth0');
  }

  #addressOf(party: Party): string {
    if (party === EVENKEEL) return `198.18.${this.#subnet}.254`;
    return this.sandbox.nodes.find(({ name }) => name === party)?.host ?? '';
  }

  /** The bridge's port to a node. */
  #portOf(index: number): string {
    return `${this.#bridge}-${index + 1}`;
  }

  #namespaceOf(name: string): string {
    return `${PREFIX}-${process.pid}-${this.#subnet}-${name}`;
  }
}

const bridgeOf = (subnet: number): string => `ek${subnet}`;

/** A subnet that is ours until `close`: its bridge is made. Null where none can be made, as by anybody but root. */
function takeSubnet(): number | null {
  if (process.getuid?.() !== 0) return null;
  sweep();
  const first = Math.floor(Math.random() * SUBNETS);
  for (let n = 0; n < SUBNETS; n += 1) {
    const subnet = (first + n) % SUBNETS;
    if (quietly('link', 'add', bridgeOf(subnet), 'type', 'bridge')) return subnet;
    if (!existsSync(`/sys/class/net/${bridgeOf(subnet)}`)) return null;
  }
  return null;
}

/** What killed processes have left. */
function sweep(): void {
  if (!existsSync(NAMESPACES)) return;
  for (const name of readdirSync(NAMESPACES)) {
    const [prefix, pid, subnet] = name.split('-');
    if (prefix !== PREFIX || existsSync(`/proc/${pid}`)) continue;
    quietly('netns', 'del', name);
    quietly('link', 'del', bridgeOf(Number(subnet)));
  }
}

function quietly(...words: string[]): boolean {
  try {
    ip(...words);
    return true;
  } catch {
    return false;
  }
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 1000 });
    const tell = (heard: boolean): void => {
      socket.destroy();
      resolve(heard);
    };
    socket
      .once('data', () => tell(true))
      .once('error', () => tell(false))
      .once('timeout', () => tell(false));
  });
}
