// The shell around the pure parts: one watcher per node feeds the detector and the view, finds further nodes, and
// tells subscribers of changes. Nothing is decided here that detector.ts, primary.ts and view.ts could decide.
import type { ClusterConfig } from '../config/types.ts';
import { type Account, type EvidenceKind, joinAddress, type NodeAddress, splitAddress } from '../messages/index.ts';
import { type Claim, claimName, claimOf } from './claim.ts';
import type { MonitorClock } from './clock.ts';
import { Hands } from './control.ts';
import {
  type DetectorEvent,
  type DetectorSettings,
  type DetectorState,
  detect,
  newDetector,
  slowWitnesses,
} from './detector.ts';
import { digestOf, lagsOf } from './digest.ts';
import type { CommitHealth } from './heartbeat.ts';
import { HeartbeatWriter, heartbeatTarget } from './heartbeat-writer.ts';
import type { MonitorLog, MonitorOptions } from './monitor-options.ts';
import { LookBudget } from './pace.ts';
import { isClusterEndpoint } from './platform.ts';
import { writersBeside } from './primary.ts';
import { Rebuilder } from './rebuild.ts';
import { Strangers } from './strangers.ts';
import { isSameServer, membersOf } from './topology.ts';
import type { ClusterView, NodeControl, NodeFacts, NodeObservation, PrimaryHealth, ServerGreeting } from './types.ts';
import { computeView, greetingIn, NO_VERDICTS, unobserved, usesSemiSync } from './view.ts';
import { NodeWatcher, type WatcherHooks } from './watcher.ts';

/** Beyond this, further nodes are not looked at: a bound, not an expectation. */
const MAX_NODES = 64;
const ACCOUNTS_TIMEOUT_MS = 5000;
/** A cluster in which nothing has changed for this long is calm. */
const CALM_AFTER_MS = 5000;
const CALM_TICK_MS = 1000;
/** Long: cut short, it would leave the receiver stopped. */
const RESTART_TIMEOUT_MS = 10_000;

interface Known {
  watcher: NodeWatcher;
  /** Named by configuration, memory or a node of the cluster; false for a guess that never answered. */
  confirmed: boolean;
}

/** `host:port` in one spelling. */
function normalized(node: NodeAddress): NodeAddress {
  const { host, port } = splitAddress(node);
  return joinAddress(host.toLowerCase(), port);
}

export class ClusterMonitor {
  readonly #config: ClusterConfig;
  readonly #clock: MonitorClock;
  readonly #log: MonitorLog;
  readonly #budget: LookBudget;
  readonly #hands: Hands;
  readonly rebuilder: Rebuilder;
  /** Removed by an operator: not looked at, whoever names them. */
  readonly #removed: Set<NodeAddress>;
  readonly #detectorSettings: DetectorSettings;
  readonly #heartbeat: HeartbeatWriter;
  readonly #nodes = new Map<NodeAddress, Known>();
  readonly #aliases = new Map<NodeAddress, NodeAddress>();
  readonly #identities = new Map<NodeAddress, string>();
  readonly #strangers = new Strangers();
  readonly #secondWriters = new Set<NodeAddress>();
  readonly #demoted = new Set<NodeAddress>();
  readonly #subscribers = new Set<() => void>();
  readonly #poked = new Set<NodeAddress>();
  #verdicts = NO_VERDICTS;
  #primary: NodeAddress | null = null;
  #primarySince = Number.NEGATIVE_INFINITY;
  /** The primary as it was set, or remembered: one that was only seen to be it may go again. */
  #remembered: NodeAddress | null = null;
  #promised: NodeAddress | null = null;
  #detector: DetectorState;
  #view: ClusterView;
  #told = { state: '', lags: '' };
  #changedAt: number;
  #running = false;
  /** Our own lateness up to the last answer of the primary, or up to where the detector knows of it. */
  #lateMs = 0;
  #cancelTick: (() => void) | null = null;

  constructor(options: MonitorOptions) {
    const { config, memory, clock, log } = options;
    this.#config = config;
    this.#clock = clock;
    this.#log = log;
    this.#budget = options.budget ?? new LookBudget();
    this.#detectorSettings = { silentAfterMs: config.probe.silentAfterMs, intervalMs: config.probe.intervalMs };
    this.#detector = newDetector(clock.nowMs());
    this.#changedAt = clock.nowMs();
    this.#hands = new Hands(config, () => usesSemiSync(this.#view));
    this.#heartbeat = new HeartbeatWriter({
      config,
      clock,
      hands: this.#hands,
      target: () => heartbeatTarget(config, this.#view, this.#primary, this.#detector.health),
      onChange: () => this.#refresh(),
    });
    this.rebuilder = new Rebuilder(config);
    this.#removed = new Set(options.removed ?? []);
    for (const { node, identity } of memory?.nodes ?? []) {
      if (identity !== '') this.#identities.set(normalized(node), identity);
    }
    for (const node of memory?.demoted ?? []) this.#demote(normalized(node));
    this.addNodes(config.seeds);
    this.addNodes((memory?.nodes ?? []).map(({ node }) => node));
    if (memory !== null && memory.primary !== null) {
      this.addNodes([memory.primary]);
      this.#primary = normalized(memory.primary);
      this.#remembered = this.#primary;
    }
    if (memory?.promised != null) this.#promised = normalized(memory.promised);
    this.#view = this.#compute();
  }

  /** What recovery may do to nodes. */
  get nodeControl(): NodeControl {
    return this.#hands;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#detector = newDetector(this.#clock.nowMs());
    for (const { watcher } of this.#nodes.values()) watcher.start();
    this.#tick();
    this.#heartbeat.start();
  }

  stop(): Promise<void> {
    this.#running = false;
    this.#heartbeat.stop();
    this.#cancelTick?.();
    for (const { watcher } of this.#nodes.values()) watcher.stop();
    this.#hands.close();
    return Promise.resolve();
  }

  view(): ClusterView {
    return this.#view;
  }

  primaryHealth(): PrimaryHealth {
    return this.#detector.health;
  }

  commitHealth(): CommitHealth {
    return this.#heartbeat.health;
  }

  claim(): Claim {
    return claimOf(this.#view);
  }

  /** Calls back after every change of the view or of the primary's health; returns the way to end that. */
  onChange(callback: () => void): () => void {
    this.#subscribers.add(callback);
    return () => this.#subscribers.delete(callback);
  }

  /**
   * A full look that begins now, over the standing connection and, if that fails, over a new one. Never rejects:
   * what went wrong is in `reach`.
   */
  async lookNow(node: NodeAddress): Promise<NodeObservation> {
    const name = this.#canonical(node);
    if (!this.#nodes.has(name)) this.addNodes([name]);
    const known = this.#nodes.get(name);
    return known === undefined ? unobserved(name) : await known.watcher.lookNow();
  }

  /** The data plane saw something that speaks against the node: look at once. */
  evidence(kind: EvidenceKind, node: NodeAddress, detail: string): void {
    const name = this.#canonical(node);
    if (name === this.#primary) this.#feed({ type: 'evidence', kind, detail });
    this.#nodes.get(name)?.watcher.hurry();
    this.#refresh();
  }

  /** A recovery (or an operator) made `node` the primary; null forgets who is, and it is found out anew. */
  setPrimary(node: NodeAddress | null): void {
    const name = node === null ? null : this.#canonical(node);
    if (name !== null) {
      this.addNodes([name]);
      this.#identities.delete(name); // whoever answers there now is meant
      const facts = this.#nodes.get(name)?.watcher.observation.facts;
      if (facts !== undefined && facts !== null) this.#identities.set(name, facts.identity);
    }
    this.#primarySince = this.#clock.nowMs();
    this.#remembered = name;
    this.#promised = null;
    this.#adopt(name, 'set');
    this.#nodes.get(name ?? '')?.watcher.hurry();
    this.#refresh();
  }

  /** An operator removed it: it is not looked at any more. */
  removeNode(node: NodeAddress): void {
    const name = this.#canonical(node);
    this.#removed.add(name);
    this.#remove(name);
    this.#refresh();
  }

  /** An operator named it, or named it again: whoever answers there now is meant. */
  admitNode(node: NodeAddress): void {
    const name = this.#canonical(node);
    this.#removed.delete(name);
    this.#identities.delete(name);
    this.addNodes([name]);
    this.#refresh();
  }

  addNodes(nodes: readonly NodeAddress[]): void {
    for (const node of nodes) this.#add(normalized(node), true);
  }

  /** All accounts, from the primary or else from any replica that answers. Rejects where none does. */
  async accounts(): Promise<Account[]> {
    const up = this.#view.nodes.filter(({ observation }) => observation.reach.state === 'up');
    const first = up.find(({ role }) => role === 'primary') ?? up.find(({ role }) => role === 'replica') ?? up[0];
    if (first === undefined) throw new Error(`no node of ${this.#config.name} answers: its accounts cannot be read`);
    return await this.#hands.accounts(first.node, ACCOUNTS_TIMEOUT_MS);
  }

  /** How the primary (or, without one, any node) greets its clients; null until one was seen. */
  greeting(): ServerGreeting | null {
    return greetingIn(this.#view, this.#primary);
  }

  #canonical(node: NodeAddress): NodeAddress {
    const name = normalized(node);
    return this.#aliases.get(name) ?? name;
  }

  #add(node: NodeAddress, confirmed: boolean): void {
    if (this.#removed.has(this.#aliases.get(node) ?? node)) return;
    const known = this.#nodes.get(this.#aliases.get(node) ?? node);
    if (known !== undefined) {
      known.confirmed ||= confirmed;
      return;
    }
    if (this.#nodes.size >= MAX_NODES) {
      this.#log.warn({ cluster: this.#config.name, node }, `more than ${MAX_NODES} nodes: this one is not looked at`);
      return;
    }
    const { admin, serverTls, probe } = this.#config;
    const watcher = new NodeWatcher(
      node,
      {
        connect: { node, user: admin.user, password: admin.password, tls: serverTls },
        clock: this.#clock,
        intervalMs: probe.intervalMs,
        // Two looks, one after the other, must fit into the time after which silence counts.
        timeoutMs: Math.min(probe.timeoutMs, 0.7 * probe.silentAfterMs),
        claim: this.#config.recovery === 'automatic' ? claimName(this.#config.name) : null,
        budget: this.#budget,
      },
      {
        onLook: (look) => this.#onLook(look),
        onClosed: (error) => this.#onClosed(node, error),
      },
      unobserved(node),
    );
    this.#nodes.set(node, { watcher, confirmed });
    if (!this.#running) return;
    this.#log.info({ cluster: this.#config.name, node }, 'found a node');
    watcher.start();
  }

  #remove(node: NodeAddress): void {
    this.#nodes.get(node)?.watcher.stop();
    this.#nodes.delete(node);
    this.#hands.forget(node);
    this.#identities.delete(node);
    this.#forgive(node);
  }

  #onClosed(node: NodeAddress, error: string): void {
    if (node === this.#primary) this.#feed({ type: 'closed', error });
    this.#refresh();
  }

  #onLook({ fresh, startedAt, observation, news }: Parameters<WatcherHooks['onLook']>[0]): void {
    const { node, reach, facts } = observation;
    if (!this.#nodes.has(node)) return;
    if (news && reach.state === 'up' && facts !== null) this.#learn(node, facts);
    if (!this.#nodes.has(node)) return; // it turned out to be another name of a node
    const before = this.#detector.health.state;
    if (node === this.#primary) {
      if (reach.state === 'up') this.#lateMs = this.#clock.lateMs?.() ?? 0;
      this.#feed({ type: 'look', fresh, startedAt, reach });
    } else if (news) this.#feedReplica(observation);
    if (news || before !== 'alive') this.#refresh();
  }

  #learn(node: NodeAddress, facts: NodeFacts): void {
    const known = this.#nodes.get(node);
    if (known !== undefined) known.confirmed = true;
    if (!this.#identities.has(node)) {
      this.#identities.set(node, facts.identity);
      void this.#hands.warm(node, this.#config.probe.timeoutMs);
    }
    if (this.#leadsElsewhere(node, facts) || this.#collapse(node, facts)) return;
    const { replication } = facts;
    if (replication !== null) this.#add(normalized(joinAddress(replication.sourceHost, replication.sourcePort)), true);
    for (const replica of facts.replicas) this.#add(normalized(replica), false);
    for (const member of membersOf(node, facts)) this.#add(normalized(member), false);
  }

  /** A platform's cluster endpoint leads to one instance now and to another later: the instances are watched instead. */
  #leadsElsewhere(node: NodeAddress, facts: NodeFacts): boolean {
    if (!isClusterEndpoint(node)) return false;
    const members = membersOf(node, facts).map(normalized);
    if (members.length === 0) return false;
    for (const member of members) this.#add(member, true);
    this.#log.info({ cluster: this.#config.name, node, members }, 'a cluster endpoint: its instances are watched');
    this.#remove(node);
    return true;
  }

  /** Two names of one server become one: the primary's, else the one known first. */
  #collapse(node: NodeAddress, facts: NodeFacts): boolean {
    for (const [other, { watcher }] of this.#nodes) {
      const { facts: theirs, reach } = watcher.observation;
      if (other === node || theirs === null || reach.state !== 'up' || !isSameServer(theirs, facts)) continue;
      const names = [...this.#nodes.keys()];
      const nodeFirst =
        node === this.#primary || (other !== this.#primary && names.indexOf(node) < names.indexOf(other));
      const [kept, dropped] = nodeFirst ? [node, other] : [other, node];
      this.#log.info({ cluster: this.#config.name, node: kept, alias: dropped }, 'two names of one node');
      this.#remove(dropped);
      for (const [alias, target] of this.#aliases) if (target === dropped) this.#aliases.set(alias, kept);
      this.#aliases.set(dropped, kept);
      return dropped === node;
    }
    return false;
  }

  #feed(event: DetectorEvent): void {
    const before = this.#detector.health.state;
    this.#detector = detect(this.#detector, event, this.#detectorSettings, this.#clock.nowMs());
    const { health } = this.#detector;
    if (health.state === before) return;
    const fields = { cluster: this.#config.name, node: this.#primary, was: before, health };
    if (health.state === 'alive') this.#log.info(fields, 'the primary is alive');
    else this.#log.warn(fields, `the primary is ${health.state}: ${health.reason}`);
    this.#setPace();
    this.#schedule();
  }

  /** In doubt every node is asked often, and one that was left in peace as soon as something happens. */
  #setPace(): void {
    const inDoubt = this.#detector.health.state !== 'alive';
    const calm = !inDoubt && this.#clock.nowMs() - this.#changedAt >= CALM_AFTER_MS;
    if (!inDoubt) this.#poked.clear();
    for (const [node, { watcher }] of this.#nodes) {
      watcher.goAt(inDoubt ? 'doubt' : node === this.#primary ? 'steady' : 'patient', calm);
    }
  }

  #feedReplica({ node, reach, facts, factsAt }: NodeObservation): void {
    if (reach.state !== 'up' || facts === null) return this.#feed({ type: 'replica', node, facts: null });
    const { replication } = facts;
    const source =
      replication === null ? null : this.#canonical(joinAddress(replication.sourceHost, replication.sourcePort));
    if (replication === null || source !== this.#primary) return this.#feed({ type: 'replica-gone', node });
    this.#feed({ type: 'replica', node, startedAt: factsAt ?? this.#clock.nowMs(), facts: replication });
  }

  /** While in doubt time itself decides, and replicas with rare heartbeats are made to find out. */
  #tick(): void {
    if (!this.#running) return;
    if (this.#detector.health.state !== 'alive') {
      const lateMs = this.#clock.lateMs?.() ?? 0;
      this.#feed({ type: 'tick', lateMs: lateMs - this.#lateMs });
      this.#lateMs = lateMs;
      this.#poke();
      this.#refresh();
    }
    this.#setPace();
    this.#schedule();
  }

  #schedule(): void {
    this.#cancelTick?.();
    if (!this.#running) return;
    const inDoubt = this.#detector.health.state !== 'alive';
    const ms = inDoubt ? Math.max(10, this.#config.probe.intervalMs / 4) : CALM_TICK_MS;
    this.#cancelTick = this.#clock.setTimeout(() => this.#tick(), ms);
  }

  #poke(): void {
    if (this.#config.recovery !== 'automatic' || (this.#detector.doubt?.failedFreshLooks ?? 0) === 0) return;
    for (const node of slowWitnesses(this.#detector, this.#detectorSettings)) {
      if (this.#poked.has(node)) continue;
      this.#poked.add(node);
      this.#log.info({ cluster: this.#config.name, node }, 'rare heartbeats: restarting the receiver to learn more');
      this.#feed({ type: 'receiver-restart', node, done: false });
      this.#hands.restartReceiver(node, RESTART_TIMEOUT_MS).then(
        () => this.#running && this.#feed({ type: 'receiver-restart', node, done: true }),
        (error) => this.#log.warn({ cluster: this.#config.name, node, error: String(error) }, 'the receiver goes on'),
      );
    }
  }

  #adopt(node: NodeAddress | null, why: string): void {
    if (node === this.#primary) return;
    this.#log.info({ cluster: this.#config.name, from: this.#primary, to: node, why }, 'the primary changed');
    if (this.#primary !== null && node !== null) this.#demote(this.#primary);
    this.#primary = node;
    this.#detector = newDetector(this.#clock.nowMs());
    this.#forgive(node ?? '');
    this.#verdicts = NO_VERDICTS;
    for (const { watcher } of this.#nodes.values()) {
      if (watcher.node !== node) this.#feedReplica(watcher.observation);
    }
    this.#setPace();
  }

  #demote(node: NodeAddress): void {
    this.#secondWriters.add(node);
    this.#demoted.add(node);
  }

  #forgive(node: NodeAddress): void {
    this.#secondWriters.delete(node);
    this.#demoted.delete(node);
  }

  #compute(): ClusterView {
    const input = {
      cluster: this.#config.name,
      durability: this.#config.durability,
      acks: this.#config.semisync.acks,
      maxLagMs: this.#config.switchover.maxLagMs,
      observations: [...this.#nodes.values()]
        .filter(({ confirmed }) => confirmed)
        .map(({ watcher }) => watcher.observation),
      primary: this.#primary,
      primarySince: this.#primarySince,
      remembered: this.#remembered,
      promised: this.#promised,
      health: this.#detector.health,
      commit: this.#heartbeat.health,
      secondWriters: this.#secondWriters,
      demoted: this.#demoted,
      identities: this.#identities,
      aliases: this.#aliases,
      ...this.#verdicts,
      oneWriter: this.#config.recovery === 'automatic',
    };
    const first = computeView(input);
    this.#verdicts = { errant: first.errant, ahead: first.ahead };
    if (first.choice.node === null || first.choice.node === this.#primary) return first.view;
    this.#adopt(first.choice.node, first.choice.why);
    return computeView({
      ...input,
      primary: this.#primary,
      health: this.#detector.health,
      ...this.#verdicts,
    }).view;
  }

  #refresh(): void {
    if (!this.#running) return;
    this.#view = this.#compute();
    this.#remember();
    const told = { state: digestOf(this.#view, this.#detector.health, this.claim()), lags: lagsOf(this.#view) };
    const { state, lags } = this.#told;
    if (told.state === state && told.lags === lags) return;
    this.#told = told;
    if (told.state !== state) {
      this.#changedAt = this.#clock.nowMs();
      this.#setPace();
    }
    for (const callback of this.#subscribers) callback();
  }

  /** Keeps what the next view must know: who wrote beside the primary, which stranger proved itself. */
  #remember(): void {
    for (const { node } of writersBeside(this.#view.nodes)) this.#secondWriters.add(node);
    const now = this.#clock.nowMs();
    for (const one of this.#view.nodes) {
      const { node, observation } = one;
      // A replica still: it was not promoted, and what happens to it from now on is somebody's doing.
      if (node === this.#promised && observation.reach.state === 'up' && observation.facts?.replication)
        this.#promised = null;
      if (observation.reach.state === 'up' && observation.facts?.readOnly === true) this.#forgive(node);
      const accepted = this.#strangers.accepts(one, now) ? observation.facts : null;
      if (accepted !== null) this.#identities.set(node, accepted.identity);
    }
  }
}
