// Makes the accounts in use known to the servers that may become primary. A MySQL server that has not seen an account
// since its start wants the whole caching_sha2_password exchange (RSA, thousands of hash rounds), and a promoted
// replica would want it of every client at once, under the hold. One login per account and node beforehand fills its
// cache. Bounded, one at a time, and nobody waits for it.
import type { NodeAddress } from '../messages/index.ts';
import type { Connect, LoginProfile } from './server-connection.ts';

const MAX_ACCOUNTS = 1000;

/** One cluster's warmer. */
export class Warmer {
  #profiles = new Map<string, LoginProfile>();
  /** Node, then the users that it knows. */
  #known = new Map<NodeAddress, Set<string>>();
  #queue: { node: NodeAddress; user: string }[] = [];
  #running = false;
  #connect: Connect;

  constructor(connect: Connect) {
    this.#connect = connect;
  }

  /** A client logged in. Only a plaintext can be refused the short way. */
  addAccount(profile: LoginProfile): void {
    const { user, credential } = profile;
    if (credential.kind !== 'plaintext' || this.#profiles.size >= MAX_ACCOUNTS) return;
    const old = this.#profiles.get(user);
    const same = old?.credential.kind === 'plaintext' && old.credential.password.equals(credential.password);
    this.#profiles.set(user, profile);
    if (same) return;
    for (const [node, users] of this.#known) {
      users.delete(user);
      this.#want(node, user);
    }
  }

  /** The nodes that serve now. One that was away has forgotten everybody. */
  setNodes(nodes: readonly NodeAddress[]): void {
    for (const node of this.#known.keys()) if (!nodes.includes(node)) this.#known.delete(node);
    for (const node of nodes) {
      if (this.#known.has(node)) continue;
      this.#known.set(node, new Set());
      for (const user of this.#profiles.keys()) this.#want(node, user);
    }
  }

  #want(node: NodeAddress, user: string): void {
    this.#queue.push({ node, user });
    this.#advance();
  }

  #advance(): void {
    if (this.#running) return;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const { node, user } = next;
      const profile = this.#profiles.get(user);
      const users = this.#known.get(node);
      if (profile === undefined || users === undefined || users.has(user)) continue;
      users.add(user);
      this.#running = true;
      return this.#login(node, profile);
    }
  }

  #login(node: NodeAddress, profile: LoginProfile): void {
    const connection = this.#connect(node, profile, {
      onReady: () => connection.quit(),
      // Whatever went wrong: the login that matters comes later, and will say so.
      onLost: () => {
        this.#running = false;
        this.#advance();
      },
    });
  }
}
