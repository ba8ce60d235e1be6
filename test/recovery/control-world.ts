// The simulated cluster with a whole control process on top: what it observes over links that may be cut, what the
// detector and the view make of that, what is decided, and the recoveries that follow, while the process itself may
// die at any call and come back with nothing but its store. Clients write through the route that workers were last
// told, and some past it, straight to whichever node takes writes.
import type { NodeControl, Reach } from '../../src/cluster/types.ts';
import { demotedBy } from '../../src/control/brake.ts';
import { noMaintenance } from '../../src/control/decide.ts';
import { ClusterGate } from '../../src/control/gate.ts';
import { Incidents } from '../../src/control/incidents.ts';
import { ClusterRouting, RouteTable } from '../../src/control/routing.ts';
import type { ClusterRoute, NodeAddress } from '../../src/messages/index.ts';
import {
  concludeUnfinished,
  type RecoveryClock,
  reinstate,
  runFailover,
  runRejoin,
  runSwitchover,
  runUpkeep,
} from '../../src/recovery/index.ts';
import type { Store } from '../../src/store/types.ts';
import { config, execute, type SimNode, type Transaction, type WorldOptions } from './model.ts';
import { type Sights, SimMonitor, TICK_MS } from './sim-monitor.ts';
import { World } from './world.ts';

const QUIET_LOG = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
/** What a process that is dead waits for. */
const never = <T>(): Promise<T> => new Promise<T>(() => undefined);

/** What dies with the process. */
interface Process {
  incidents: Incidents;
  routing: ClusterRouting;
  table: RouteTable;
  monitor: SimMonitor;
}

export class ControlWorld extends World {
  /** Cut links, `a|b` in order of names; `control` is the control process. */
  readonly cut = new Set<string>();
  readonly stuck = new Set<SimNode>();
  /** What workers follow. */
  applied: ClusterRoute | null = null;
  wallJumpMs = 0;
  deaths = 0;
  promotions = 0;
  /** The process dies at this call, counted from now; -1: not. */
  dieAtCall = -1;
  readonly #told: string[] = [];
  #generation = 0;
  #process: Process | null = null;
  /** By the process that runs. */
  #seenWritable: NodeAddress | null = null;
  /** Those of `pending` whose client came past Evenkeel. */
  readonly #direct = new Set<Transaction>();
  /** Nodes that were primary. */
  readonly #wasOpen = new Set<NodeAddress>();
  readonly #primaryOfEpoch = new Map<number, NodeAddress>();

  constructor(options: WorldOptions) {
    super({ ...options, load: false });
    this.stepMs = 20;
    this.loads = options.load;
  }

  /** For a person who looks into one life. */
  tell(text: string): void {
    this.#told.push(`${Math.round(this.nowMs)} ${text}`);
  }

  // --- faults -----------------------------------------------------------------------------------------------

  /** Frozen about as long as it takes to be called dead. */
  nap(node: SimNode, ms: number): void {
    if (node.state !== 'up') return;
    node.state = 'frozen';
    void this.clock.sleep(ms).then(() => {
      if (node.state === 'frozen') node.state = 'up';
    });
  }

  cutLink(a: string, b: string): void {
    this.cut.add([a, b].sort().join('|'));
  }

  isCut(a: string, b: string): boolean {
    return this.cut !== undefined && this.cut.size > 0 && this.cut.has([a, b].sort().join('|'));
  }

  protected override linked(one: SimNode, other: SimNode): boolean {
    return super.linked(one, other) && !this.isCut(one.name, other.name);
  }

  /** An operator's order; one that does not begin, or whose process dies, is not repeated. */
  switchOver(): void {
    this.#process?.incidents.switchover({}).catch(() => undefined);
  }

  killControl(): void {
    if (this.#process === null) return;
    this.tell('the control process dies');
    this.#arriveLate(this.#process.routing.route());
    this.#process = null;
    this.#seenWritable = null;
    this.#generation += 1;
    this.deaths += 1;
  }

  get controlRuns(): boolean {
    return this.#process !== null;
  }

  get isRecovering(): boolean {
    return this.#process?.incidents.running != null;
  }

  // --- clients ----------------------------------------------------------------------------------------------

  /** One in four past Evenkeel. A stuck node takes nothing to its end. */
  protected override write(): void {
    for (const node of this.nodes) {
      if (node.state !== 'up' || node.readOnly || this.stuck.has(node) || this.writes >= 300) continue;
      const routed = this.applied?.gate.state === 'open' && this.applied.primary === node.name;
      for (const direct of [false, true]) {
        if (direct ? this.random() > 0.05 : !routed || this.random() > 0.2) continue;
        const last = node.executedTo.get(this.options.flavor === 'mariadb' ? 0 : node.id)?.seq ?? 0;
        const transaction = { origin: node.id, seq: last + 1 };
        execute(node, transaction);
        this.pending.push({ transaction, on: node });
        if (direct) this.#direct.add(transaction);
        this.writes += 1;
      }
    }
  }

  /**
   * With `failover.unfenced: promote` a failover away from a primary out of reach accepts what clients past Evenkeel
   * are told there from then on.
   */
  protected override isPromised(transaction: Transaction, on: SimNode): boolean {
    const direct = this.#direct.has(transaction);
    const { applied } = this;
    const opened = applied?.gate.state === 'open' && applied.primary !== on.name && this.#wasOpen.has(on.name);
    if (opened && (!direct || this.options.unfenced === 'wait'))
      this.violate(`${on.name} acknowledged a write after ${applied.primary} was opened`);
    if (this.options.unfenced === 'wait' || !direct) return true;
    return applied?.primary === on.name && applied.gate.state === 'open';
  }

  /** Ends connections: what they waited for is told to nobody. */
  #endClients(of: (one: { transaction: Transaction; on: SimNode }) => boolean): void {
    this.pending = this.pending.filter((one) => !of(one));
  }

  /** Its commits need nobody's acknowledgement any more. */
  #letGo(name: NodeAddress): void {
    for (const { on, transaction } of this.pending) if (on.name === name) this.acknowledged.push(transaction);
  }

  // --- the control process ----------------------------------------------------------------------------------

  /** A call of the process: it may die before, in the middle or after. */
  protected override async call<T>(
    target: SimNode | null,
    timeoutMs: number,
    effect: () => T | Promise<T>,
  ): Promise<T> {
    const generation = this.#generation;
    const dead = () => generation !== this.#generation;
    if (this.dieAtCall === 0) this.killControl();
    if (this.dieAtCall >= 0) this.dieAtCall -= 1;
    // What was sent before it died may still be carried out.
    if (dead() && this.random() < 0.5) return never<T>();
    if (target !== null && this.isCut('control', target.name)) {
      await this.clock.sleep(timeoutMs);
      if (dead()) return never<T>();
      throw new Error('timeout: no way there');
    }
    try {
      const value = await super.call(target, timeoutMs, effect);
      return dead() ? await never<T>() : value;
    } catch (error) {
      if (dead()) return never<T>();
      throw error;
    }
  }

  /** The hands, with what real ones do to connections and to what hangs. Those of a dead process do nothing more. */
  #hands(alive: () => boolean): NodeControl {
    const hands = this.#livingHands();
    const guarded = Object.entries(hands).map(([name, does]: [string, (...given: never[]) => Promise<unknown>]) => [
      name,
      (...given: never[]) => (alive() ? does(...given) : never()),
    ]);
    return { ...hands, ...Object.fromEntries(guarded) };
  }

  #livingHands(): NodeControl {
    const { bug } = this.options;
    const base = this.control;
    return {
      ...base,
      setReadOnly: (name, ms) =>
        this.call(this.byName(name), ms, async () => {
          const node = this.byName(name);
          const free = () => !this.stuck.has(node) && !this.pending.some(({ on }) => on === node);
          // New writes wait behind the order from its beginning; it is done when the last commit has ended.
          if (!free() && !(await this.wait(node, free, ms))) throw new Error('timeout: commits hang');
          if (bug === 'no-read-only') node.claimsReadOnly = true;
          else node.readOnly = true;
        }),
      killClients: (name, ms) =>
        this.call(this.byName(name), ms, () => {
          if (bug === 'semi-sync-off-early') this.#letGo(name);
          this.#endClients(({ on }) => on.name === name);
          return 1;
        }),
      setSemiSyncRole: (name, role, ms) =>
        this.call(this.byName(name), ms, () => {
          if (role === 'source') return;
          this.#endClients(({ on }) => on.name === name);
        }),
      applyAllReceived: (name, ms) => {
        if (bug !== 'receivers-go-on') return base.applyAllReceived(name, ms);
        return this.call(this.byName(name), ms, () => {
          this.byName(name).claimsStopped = true;
          return this.wait(this.byName(name), () => this.byName(name).relay.length === 0, ms);
        });
      },
      follow: (name, source, ms) =>
        bug === 'no-rejoin' ? Promise.reject(new Error('switched off')) : base.follow(name, source, ms),
    };
  }

  startControl(): void {
    const generation = this.#generation;
    const alive = () => generation === this.#generation;
    const cluster = 'shop';
    const store = this.#storeOf(alive);
    const memory = store.loadCluster(cluster) ?? { cluster, epoch: 0, primary: null, nodes: [] };
    const base = config(this.options.durability);
    const settings = {
      ...base,
      failover: { ...base.failover, maxFailures: 1000, unfenced: this.options.unfenced ?? 'promote' },
    };
    const promised = concludeUnfinished(store, memory);
    const demoted = demotedBy(store.history({ cluster, limit: 200 }));
    const monitor = new SimMonitor(this.#sights(), this.options, { primary: memory.primary, demoted, promised });
    const view = () => monitor.view;
    const health = () => monitor.health;
    const clock: RecoveryClock = {
      nowMs: () => this.clock.nowMs(),
      wallMs: () => this.clock.wallMs() + this.wallJumpMs,
      sleep: async (ms, signal) => {
        await this.clock.sleep(ms, signal);
        if (!alive()) await never();
      },
    };
    const routing = new ClusterRouting({
      memory,
      drained: () => new Map(),
      source: { view, health, greeting: () => ({ version: 'simulated', collation: 45 }) },
      store,
      clock,
    });
    const publish = (routes: ClusterRoute[]) => {
      const [route] = routes;
      if (route !== undefined && alive()) this.#apply(route);
    };
    const publisher = {
      publish,
      publishAndWait: (routes: ClusterRoute[]) =>
        alive() ? this.call(null, 1000, () => publish(routes)) : never<void>(),
    };
    const table = new RouteTable(publisher, clock);
    table.add(routing);
    const setPrimary = (node: NodeAddress) => monitor.setPrimary(node);
    const gate = new ClusterGate({
      routing,
      table,
      fleet: {
        drain: () => (alive() ? this.call(null, 1000, () => this.#drain(routing.memory.primary)) : never<number>()),
        openAhead: () => this.call(null, 1000, () => 0),
        impact: () => this.call(null, 1000, () => ({ heldStatements: 0, longestStallMs: 0, clientErrors: 0 })),
      },
      onPrimary: setPrimary,
      clock,
    });
    const context = {
      cluster,
      view,
      nodes: this.#hands(alive),
      gate,
      store,
      clock,
      config: settings,
      log: QUIET_LOG,
      random: this.random,
    };
    const incidents = new Incidents({
      routing,
      recoveries: {
        switchover: runSwitchover,
        failover: (ctx, options) => {
          const { floor: _, ...without } = options ?? {};
          return runFailover(ctx, this.options.bug === 'no-floor' ? without : options);
        },
        rejoin: runRejoin,
        reinstate,
        semisync: runUpkeep,
        rebuild: () => Promise.reject(new Error('not simulated')),
      },
      context,
      automatic: true,
      maintenance: () => noMaintenance,
      view,
      health,
      commit: () => monitor.commit(),
      claim: () => ({ owner: 'us' }),
      setPrimary,
      promised,
      clock,
      log: QUIET_LOG,
      onStarted: () => undefined,
      onStep: () => undefined,
      onEnded: () => undefined,
      onChanged: () => {
        if (alive()) table.refresh(routing);
      },
    });
    const state: Process = { incidents, routing, table, monitor };
    this.#process = state;
    table.start();
    void this.#live(alive, state);
  }

  #sights(): Sights {
    return {
      nodes: this.nodes,
      nowMs: () => this.nowMs,
      facts: (node) => this.facts(node),
      reach: (node): Reach => {
        if (this.isCut('control', node.name) || node.state === 'frozen') return { state: 'silent', error: 'timeout' };
        return node.state === 'up' ? { state: 'up', rttMs: 1 } : { state: 'refused', error: 'ECONNREFUSED' };
      },
      isStuck: (node) => this.stuck.has(node) && !node.readOnly && node.state === 'up',
    };
  }

  async #live(alive: () => boolean, state: Process): Promise<void> {
    while (alive()) {
      state.monitor.look();
      const { primary } = state.routing.memory;
      if (primary !== null && state.monitor.writes(primary)) this.#seenWritable = primary;
      state.table.refresh(state.routing);
      state.incidents.evaluate();
      state.routing.rememberMembers();
      await this.clock.sleep(TICK_MS);
    }
  }

  /** A store of which the writes of a dead process do not count. */
  #storeOf(alive: () => boolean): Store {
    const { store } = this;
    return {
      ...store,
      saveCluster: (memory) => {
        if (!alive()) return;
        const epoch =
          this.options.bug === 'epoch-not-saved' ? (store.loadCluster(memory.cluster)?.epoch ?? 1) : memory.epoch;
        store.saveCluster({ ...memory, epoch });
      },
      saveRecovery: (record) => {
        if (alive()) store.saveRecovery(record);
      },
    };
  }

  /** A message of a process that is dead by now, if another one has moved the primary since. */
  #arriveLate(route: ClusterRoute): void {
    void this.clock.sleep(500 + this.random() * 3_000).then(() => {
      if (route.epoch < (this.applied?.epoch ?? 0)) this.#apply({ ...route, gate: { state: 'open' } });
    });
  }

  #drain(from: NodeAddress | null): number {
    if (this.options.bug === 'clients-not-cut') return 0;
    this.#endClients(({ on, transaction }) => on.name === from && !this.#direct.has(transaction));
    return 0;
  }

  /** Workers take a route over; one of an older epoch they refuse. */
  #apply(route: ClusterRoute): void {
    const before = this.applied;
    if (before !== null && route.epoch < before.epoch && this.options.bug !== 'no-epoch-check') return;
    this.applied = structuredClone(route);
    const { epoch, gate, primary } = route;
    if (before?.primary !== primary || gate.state === 'closed') this.#drain(before?.primary ?? null);
    if (primary === null || gate.state !== 'open') return;
    const known = this.#primaryOfEpoch.get(epoch) ?? primary;
    this.#primaryOfEpoch.set(epoch, known);
    if (known !== primary) this.violate(`epoch ${epoch} was open for ${known}, and then for ${primary}`);
    if (before?.epoch === epoch) return;
    this.promotions += 1;
    this.#wasOpen.add(primary);
    if (this.options.durability === 'semisync') this.checkNothingLost(this.byName(primary));
  }

  // --- the end ----------------------------------------------------------------------------------------------

  /** Two nodes may be writable while faults last (one is out of reach); what is sent to them is what counts. */
  protected override checkWriters(): void {
    return;
  }

  /** Through others or directly. */
  #follows(node: SimNode, primary: SimNode): boolean {
    let at: SimNode | null = node;
    for (let hops = 0; hops < this.nodes.length && at !== null && at.receiving; hops++) {
      if (at.source === primary) return true;
      at = at.source;
    }
    return false;
  }

  /** For a person who looks into one seed. */
  story(): string {
    const records = this.store
      .history({ limit: 40 })
      .reverse()
      .map(
        ({ from, kind, outcome, reason, startedAt, steps, to }) =>
          `${startedAt} ${kind} ${from} -> ${to} ${outcome}: ${reason}${steps.map((one) => `\n    ${one.startedMs} +${one.durationMs} ${one.name}: ${one.detail}`).join('')}`,
      );
    const nodes = this.nodes.map(
      (one) =>
        `${one.name} ${one.state}${one.readOnly ? ' read-only' : ''} follows ${one.source?.name ?? 'nobody'}${one.receiving ? '' : ' (stopped)'}: ${one.executed.length} executed, ${one.relay.length} in relay log`,
    );
    const { durability, flavor } = this.options;
    return [
      `${flavor} ${durability}`,
      ...this.#told,
      ...records,
      ...nodes,
      JSON.stringify(this.applied?.gate),
      JSON.stringify([
        this.#process?.monitor.health,
        this.#process?.monitor.view.problems,
        this.#process?.incidents.problems(),
      ]),
      ...this.unsettled(),
    ].join('\n');
  }

  /**
   * Nobody who lives has seen the primary take writes, it came back read-only, and another node has what it may have
   * lost: that is for a person to say, who is told so.
   */
  awaitsOrder(): boolean {
    const refusals = (this.#process?.incidents.problems() ?? []).filter(({ code }) => code === 'recovery-refused');
    // Two primaries went on, of which one was promoted by a recovery that came to no end: nobody is let to either.
    if (refusals.some(({ text }) => text.includes('both may have been acknowledged. Look at both'))) return true;
    const refused = refusals.some(({ text }) => / has transactions that .* lost /.test(text));
    return refused && this.#seenWritable !== this.#process?.routing.memory.primary;
  }

  /** What is not in order; empty where all is. */
  unsettled(): string[] {
    const route = this.applied;
    const wrong: string[] = [];
    if (this.#process === null) return ['the control process is dead'];
    if (this.isRecovering) wrong.push(`a ${String(this.#process.incidents.running?.kind)} runs`);
    if (route === null || route.primary === null || route.gate.state !== 'open') return [...wrong, 'clients are held'];
    const primary = this.byName(route.primary);
    const has = new Set(primary.executed);
    if (this.options.durability === 'semisync') this.checkNothingLost(primary);
    if (primary.readOnly) wrong.push(`${primary.name} is open and read-only`);
    for (const node of this.nodes) {
      if (node === primary) continue;
      if (!node.readOnly) wrong.push(`${node.name} is writable beside ${primary.name}`);
      const errant = node.executed.some((one) => !has.has(one));
      if (!errant && !this.#follows(node, primary)) wrong.push(`${node.name} does not follow`);
    }
    return wrong;
  }
}
