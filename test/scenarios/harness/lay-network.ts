// Where hosts must be cut off: hosts as network namespaces make them, or relays where those cannot be had.
import type { SandboxInfo } from '../../../src/sandbox/index.ts';
import { Hosts } from './hosts.ts';
import type { Network } from './network.ts';
import { Relays } from './relays.ts';

/** Between the nodes of a fresh sandbox; its first node stays primary. */
export async function layNetwork(sandbox: SandboxInfo): Promise<Network> {
  const hosts = await Hosts.lay(sandbox);
  if (hosts !== null) return hosts;
  process.stderr.write('no network namespaces here (they need root and iproute2): links are cut by relays\n');
  return Relays.lay(sandbox);
}
