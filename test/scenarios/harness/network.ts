// A network between the nodes of a sandbox, and between them and Evenkeel, whose links can be cut one by one.
import mysql from 'mysql2/promise';
import type { SandboxInfo, SandboxNode } from '../../../src/sandbox/index.ts';
import { byHand } from './by-hand.ts';

/** A node's name, or who is none. */
export type Party = string;
export const EVENKEEL: Party = 'evenkeel';

export interface Network {
  /** The nodes at the addresses by which they are known. */
  readonly sandbox: SandboxInfo;
  /** A node past all cuts. */
  real(node: SandboxNode): SandboxNode;
  /** Nothing passes between the two any more, in neither direction, and nobody is told. */
  cut(one: Party, other: Party): void;
  /** All is as it was; what was sent meanwhile arrives. */
  mend(): void;
  close(): void;
}

/** The node of the same name in a sandbox whose nodes have other addresses. */
export function sameNode({ nodes }: SandboxInfo, { name }: SandboxNode): SandboxNode {
  const found = nodes.find((node) => node.name === name);
  if (found === undefined) throw new Error(`no node ${name}`);
  return found;
}

/** Makes the nodes follow the first, which stays primary, at its new address; a new address takes the period of heartbeats away. */
export async function regroup(network: Network): Promise<void> {
  const { flavor, nodes } = network.sandbox;
  const [first, ...others] = nodes;
  if (first === undefined) return;
  const { stop, start } = byHand[flavor];
  const change =
    flavor === 'mysql'
      ? `CHANGE REPLICATION SOURCE TO SOURCE_HOST='${first.host}', SOURCE_PORT=${first.port}, SOURCE_HEARTBEAT_PERIOD=0.5`
      : `CHANGE MASTER TO MASTER_HOST='${first.host}', MASTER_PORT=${first.port}, MASTER_HEARTBEAT_PERIOD=0.5`;
  for (const node of others) await ask(network, node, [stop, change, start]);
  const writable = flavor === 'mysql' ? ['SET GLOBAL super_read_only=0'] : [];
  await ask(network, first, [...writable, 'SET GLOBAL read_only=0']);
}

async function ask(network: Network, node: SandboxNode, statements: string[]): Promise<void> {
  const { host, port } = network.real(node);
  const { user, password } = network.sandbox.admin;
  const connection = await mysql.createConnection({ host, port, user, password });
  try {
    for (const statement of statements) await connection.query(statement);
  } finally {
    connection.destroy();
  }
}
