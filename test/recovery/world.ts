// A cluster in memory, for simulating recoveries: nodes with histories, relay logs and replication, clients that
// write through the gate, faults that strike at any call, and a clock that runs as fast as the code. One seed
// decides everything. The world watches its own invariants after every change and keeps what was violated.
import type { ClusterView, NodeFacts, NodeObservation, NodeView } from '../../src/cluster/types.ts';
import type { NodeAddress } from '../../src/messages/index.ts';
import { covers } from '../../src/recovery/gtids.ts';
import type { ClientGate, NodeControl, RecoveryClock, RecoveryContext } from '../../src/recovery/index.ts';
import { openEmbeddedStore } from '../../src/store/index.ts';
import { randomOf } from '../support/random.ts';
import {
  advanceTo,
  config,
  dropRelay,
  execute,
  executedSetOf,
  type Fault,
  gtidOf,
  type SimNode,
  type Transaction,
  uuidOf,
  type WorldOptions,
} from './model.ts';

const STEP_MS = 5;
const OBSERVE_MS = 50;
const MAX_WRITES = 400;

interface Timer {
  at: number;
  order: number;
  fire: () => void;
}

export class World {
  readonly options: WorldOptions;
  readonly nodes: SimNode[] = [];
  readonly violations: string[] = [];
  readonly acknowledged: Transaction[] = [];
  readonly store = openEmbeddedStore(':memory:');
  gate: { open: boolean; primary: NodeAddress } = { open: true, primary: '' };
  readonly random: () => number;
  protected pending: { transaction: Transaction; on: SimNode }[] = [];
  private timers: Timer[] = [];
  protected nowMs = 1_000;
  private nextStepMs = 1_000;
  protected stepMs = STEP_MS;
  protected loads: boolean;
  private order = 0;
  private calls = 0;
  protected writes = 0;
  private epoch = 1;
  private armed = false;
  protected waiters: { ready: () => boolean; resolve: () => void }[] = [];
  protected observations = new Map<NodeAddress, NodeObservation>();

  constructor(options: WorldOptions) {
    this.options = options;
    this.loads = options.load;
    this.random = randomOf(options.seed);
    for (let id = 1; id <= options.nodes; id++) {
      this.nodes.push({
        name: `db${id}:3306`,
        id,
        state: 'up',
        readOnly: id !== 1,
        executed: [],
        relay: [],
        has: new Set(),
        executedTo: new Map(),
        receivedTo: new Map(),
        source: null,
        receiving: id !== 1,
        applySpeed: 1 + Math.floor(this.random() * 6),
        applyChance: this.random() < 0.8 ? 0.7 : 0.05,
        claimsReadOnly: false,
        startedAtMs: -100_000,
        wasLost: false,
      });
    }
    const primary = this.at(0);
    for (const node of this.nodes.slice(1)) node.source = primary;
    this.gate.primary = primary.name;
    for (let i = 0; i < 40; i++) this.step();
    this.observe();
  }

  protected at(index: number): SimNode {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`no node ${index}`);
    return node;
  }

  byName(name: NodeAddress): SimNode {
    const node = this.nodes.find((one) => one.name === name);
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
  }

  /** From here on calls are counted and faults strike. */
  arm(): void {
    this.armed = true;
  }

  disarm(): void {
    this.armed = false;
  }

  // --- time -------------------------------------------------------------------------------------------------

  readonly clock: RecoveryClock = {
    nowMs: () => this.nowMs,
    wallMs: () => 1_795_000_000_000 + this.nowMs,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const timer: Timer = { at: this.nowMs + ms, order: this.order++, fire: () => resolve() };
        this.timers.push(timer);
        signal?.addEventListener('abort', () => {
          this.timers = this.timers.filter((one) => one !== timer);
          reject(new Error('aborted'));
        });
      }),
  };

  /** Lets the world go on until `work` has ended. */
  async run<T>(work: Promise<T>): Promise<T> {
    let ended = false;
    const watched = work.finally(() => {
      ended = true;
    });
    watched.catch(() => undefined);
    for (let guard = 0; ; guard++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (ended) return watched;
      if (guard > 200_000) throw new Error('the recovery does not end');
      this.advance();
    }
  }

  /** To the next timer, or to the next step that lets a waiter go on. */
  private advance(): void {
    this.timers.sort((a, b) => a.at - b.at || a.order - b.order);
    for (let guard = 0; guard < 100_000; guard++) {
      const next = this.timers[0];
      if (next !== undefined && next.at <= this.nextStepMs) {
        this.timers.shift();
        this.nowMs = Math.max(this.nowMs, next.at);
        next.fire();
        return;
      }
      this.nowMs = this.nextStepMs;
      this.nextStepMs += this.stepMs;
      this.step();
      if (this.nowMs % OBSERVE_MS === 0) this.observe();
      const ready = this.waiters.filter((one) => one.ready());
      if (ready.length > 0) {
        this.waiters = this.waiters.filter((one) => !ready.includes(one));
        for (const one of ready) one.resolve();
        return;
      }
    }
    throw new Error('nothing happens any more');
  }

  // --- the cluster ------------------------------------------------------------------------------------------

  protected step(): void {
    for (const node of this.nodes) {
      if (node.state !== 'up' || node.source === null) continue;
      if (node.receiving && this.linked(node, node.source)) this.receive(node, node.source);
      for (let i = 0; i < node.applySpeed && node.relay.length > 0; i++) {
        if (this.random() >= node.applyChance) continue;
        for (const transaction of node.relay.splice(0, 1)) execute(node, transaction);
      }
    }
    this.acknowledge();
    if (this.loads) this.write();
    this.checkWriters();
  }

  private receive(node: SimNode, source: SimNode): void {
    let first = source.executed.length;
    while (first > 0) {
      const before = source.executed[first - 1];
      if (before === undefined || node.has.has(before)) break;
      first -= 1;
    }
    for (const transaction of source.executed.slice(first, first + Math.floor(this.random() * 5))) {
      node.relay.push(transaction);
      node.has.add(transaction);
      advanceTo(node.receivedTo, transaction);
    }
  }

  protected write(): void {
    if (!this.gate.open) return;
    const node = this.byName(this.gate.primary);
    if (node.state !== 'up' || node.readOnly) return;
    for (let count = Math.floor(this.random() * 3); count > 0 && this.writes < MAX_WRITES; count--) {
      // MySQL counts per server, MariaDB per domain, whoever writes.
      const last = node.executedTo.get(this.options.flavor === 'mariadb' ? 0 : node.id)?.seq ?? 0;
      const transaction = { origin: node.id, seq: last + 1 };
      execute(node, transaction);
      this.pending.push({ transaction, on: node });
      this.writes += 1;
    }
  }

  protected acknowledge(): void {
    this.pending = this.pending.filter(({ transaction, on }) => {
      if (on.state !== 'up') return on.state === 'frozen';
      if (this.options.durability === 'semisync') {
        const holds = (one: SimNode) =>
          one.source === on && this.linked(one, on) && one.receiving && one.has.has(transaction);
        if (!this.nodes.some(holds)) return true;
      }
      if (this.isPromised(transaction, on)) this.acknowledged.push(transaction);
      return false;
    });
  }

  /** Whether this acknowledgement is one that must never be lost. */
  protected isPromised(_transaction: Transaction, _on: SimNode): boolean {
    return true;
  }

  protected observe(): void {
    for (const node of this.nodes) {
      const before = this.observations.get(node.name);
      const reach: NodeObservation['reach'] =
        node.state === 'up'
          ? { state: 'up', rttMs: 1 }
          : { state: node.state === 'crashed' ? 'refused' : 'silent', error: node.state };
      const up = node.state === 'up';
      this.observations.set(node.name, {
        node: node.name,
        at: this.nowMs,
        reach,
        facts: up ? this.facts(node) : (before?.facts ?? null),
        factsAt: up ? this.nowMs : (before?.factsAt ?? null),
      });
    }
  }

  facts(node: SimNode): NodeFacts {
    const replicas = this.nodes.filter((one) => one.source === node && this.linked(one, node) && one.receiving);
    const hears = node.source !== null && this.linked(node, node.source);
    const { bug } = this.options;
    const all = bug === 'wrong-one' ? (node.source?.executedTo ?? node.receivedTo) : node.receivedTo;
    const received = bug === 'elect-by-applied' ? node.executedTo : all;
    const readOnly = node.readOnly || node.claimsReadOnly;
    return {
      flavor: this.options.flavor,
      version: 'simulated',
      serverId: node.id,
      identity: uuidOf(node.id),
      startedAtMs: node.startedAtMs,
      readOnly,
      superReadOnly: readOnly,
      gtidExecuted: executedSetOf(this.options.flavor, node.executedTo),
      gtidPosition: gtidOf(this.options.flavor, node.executedTo),
      logBin: true,
      logReplicaUpdates: true,
      replication:
        node.source === null
          ? null
          : {
              sourceHost: node.source.name.split(':')[0] ?? '',
              sourcePort: 3306,
              sourceUuid: uuidOf(node.source.id),
              receiver: !node.receiving || node.claimsStopped === true ? 'stopped' : hears ? 'running' : 'connecting',
              receiverError: null,
              applier: 'running',
              applierError: null,
              delaySeconds: 0,
              lagMs: node.relay.length,
              received: gtidOf(this.options.flavor, received),
              heard: hears ? String(this.nowMs) : '',
              semiSyncActive: node.receiving && hears,
            },
      semiSync:
        this.options.durability === 'none'
          ? null
          : {
              sourceEnabled: !node.readOnly,
              sourceActive: !node.readOnly,
              replicaEnabled: node.readOnly,
              clients: replicas.length,
              waitForCount: 1,
              timeoutMs: 1_000_000_000,
            },
      replicas: replicas.map((one) => one.name),
    };
  }

  view(): ClusterView {
    return {
      cluster: 'shop',
      flavor: this.options.flavor,
      primary: this.gate.primary,
      nodes: this.nodes.map((node): NodeView => {
        const observation = this.observations.get(node.name);
        if (observation === undefined) throw new Error('not observed');
        return {
          node: node.name,
          role: node.name === this.gate.primary ? 'primary' : 'replica',
          state: 'ok',
          detail: '',
          lagMs: 0,
          gtid: '',
          observation,
        };
      }),
      problems: [],
    };
  }

  /** Whether both are up and reach each other. */
  protected linked(one: SimNode, other: SimNode): boolean {
    return one.state === 'up' && other.state === 'up';
  }

  crash(node: SimNode): void {
    if (node.state === 'crashed') return;
    node.state = 'crashed';
    node.wasLost = true;
  }

  /** Comes back as a server does that is configured read-only, with all that it had on disk. */
  restart(node: SimNode): void {
    if (node.state === 'up') return;
    if (node.state === 'crashed') {
      node.readOnly = true;
      node.startedAtMs = this.nowMs;
      // A server starts its replication when it starts.
      node.receiving = node.source !== null;
      if (this.options.dropsRelay === true) dropRelay(node);
    }
    node.state = 'up';
    this.observe();
  }

  // --- invariants -------------------------------------------------------------------------------------------

  violate(text: string): void {
    if (!this.violations.includes(text)) this.violations.push(text);
  }

  protected checkWriters(): void {
    if (!this.gate.open) return;
    const writers = this.nodes.filter((one) => one.state === 'up' && !one.readOnly && !one.wasLost);
    if (writers.length > 1)
      this.violate(`two writers while the gate is open: ${writers.map((one) => one.name).join(', ')}`);
  }

  protected checkNothingLost(primary: SimNode): void {
    const lost = this.lostOn(primary);
    if (lost > 0) this.violate(`opened to ${primary.name} without ${lost} acknowledged transactions`);
  }

  /** How many acknowledged transactions a node has not executed. */
  lostOn(node: SimNode): number {
    const executed = new Set(node.executed);
    return this.acknowledged.filter((one) => !executed.has(one)).length;
  }

  // --- the hands --------------------------------------------------------------------------------------------

  /** One call to a node or to the gate: takes some time, and a fault may strike. */
  protected async call<T>(target: SimNode | null, timeoutMs: number, effect: () => T | Promise<T>): Promise<T> {
    const fault = this.armed ? this.options.faults.find((one) => one.at === this.calls) : undefined;
    if (this.armed) this.calls += 1;
    await this.clock.sleep(1 + this.random() * 4);
    if (fault !== undefined && 'victim' in fault && fault.kind !== 'crash-after') this.strike(fault, target);
    if (fault?.kind === 'lost') throw Object.assign(new Error('the kept connection broke'), { code: 'lost' });
    if (fault?.kind === 'slow') {
      await this.clock.sleep(timeoutMs * 2);
      if (target !== null) target.wasLost = true;
      throw new Error('timeout');
    }
    if (fault?.kind === 'error-before') {
      if (target !== null) target.wasLost = true;
      throw new Error('injected, before');
    }
    if (target !== null && target.state === 'crashed') throw Object.assign(new Error('refused'), { code: 'refused' });
    if (target !== null && target.state === 'frozen') {
      await this.clock.sleep(timeoutMs);
      throw new Error('timeout');
    }
    const value = await effect();
    this.checkWriters();
    if (fault !== undefined && 'victim' in fault && fault.kind === 'crash-after') this.strike(fault, target);
    if (fault?.kind === 'error-after') {
      if (target !== null) target.wasLost = true;
      throw new Error('injected, after');
    }
    return value;
  }

  private strike(fault: Extract<Fault, { victim: string }>, target: SimNode | null): void {
    const random = this.nodes[Math.floor(this.random() * this.nodes.length)];
    const victim = fault.victim === 'target' ? target : fault.victim === 'primary' ? this.at(0) : (random ?? null);
    if (victim === null || victim.state !== 'up') return;
    if (fault.kind === 'freeze') {
      victim.state = 'frozen';
      victim.wasLost = true;
    } else this.crash(victim);
  }

  /** True when `ready` became true in time. */
  protected async wait(node: SimNode, ready: () => boolean, timeoutMs: number): Promise<boolean> {
    if (ready()) return true;
    const over = new AbortController();
    const met = new Promise<boolean>((resolve) => {
      this.waiters.push({ ready: () => node.state !== 'up' || ready(), resolve: () => resolve(true) });
    });
    const late = this.clock.sleep(timeoutMs, over.signal).then(
      () => false,
      () => false,
    );
    const result = await Promise.race([met, late]);
    over.abort();
    if (node.state !== 'up') throw new Error('lost connection');
    return result && ready();
  }

  readonly control: NodeControl = {
    electMember: () => Promise.reject(new Error('no group')),
    joinGroup: () => Promise.reject(new Error('no group')),
    syncWithCluster: () => Promise.reject(new Error('no Galera cluster')),
    look: (name, ms) => this.call(this.byName(name), ms, () => this.facts(this.byName(name))),
    setReadOnly: (name, ms) =>
      this.call(this.byName(name), ms, () => {
        if (this.options.bug === 'no-read-only') this.byName(name).claimsReadOnly = true;
        else this.byName(name).readOnly = true;
      }),
    setWritable: (name, ms) =>
      this.call(this.byName(name), ms, () => {
        if (this.options.bug === 'no-restore' && name === this.at(0).name) return;
        this.byName(name).readOnly = false;
      }),
    killClients: (name, ms) => this.call(this.byName(name), ms, () => 0),
    waitForGtid: (name, gtid, ms) =>
      this.call(this.byName(name), ms, () => {
        const node = this.byName(name);
        if (this.options.bug === 'no-position-wait') return true;
        return this.wait(
          node,
          () => covers(this.options.flavor, gtidOf(this.options.flavor, node.executedTo), gtid),
          ms,
        );
      }),
    applyAllReceived: (name, ms) =>
      this.call(this.byName(name), ms, () => {
        const node = this.byName(name);
        node.receiving = false;
        if (this.options.bug === 'ignore-relay-log') return true;
        return this.wait(node, () => node.relay.length === 0, ms);
      }),
    detachFromSource: (name, ms) =>
      this.call(this.byName(name), ms, () => {
        const node = this.byName(name);
        node.source = null;
        node.receiving = false;
        node.claimsStopped = false;
        dropRelay(node);
      }),
    follow: (name, source, ms) =>
      this.call(this.byName(name), ms, () => {
        const node = this.byName(name);
        if (this.options.bug === 'no-follow' && source === this.at(0).name) return;
        if (!node.readOnly) this.violate(`${name} follows ${source} while it is writable`);
        dropRelay(node);
        node.claimsStopped = false;
        node.source = this.byName(source);
        // As with auto-positioning: who has what its source has not is not served.
        const served = new Set(node.source.executed);
        node.receiving = node.executed.every((one) => served.has(one));
      }),
    setSemiSyncRole: (name, _role, ms) => this.call(this.byName(name), ms, () => undefined),
    rotateBinlog: (name, ms) => this.call(this.byName(name), ms, () => undefined),
    globals: () => Promise.resolve({}),
    keepLedger: (name, ms) => this.call(this.byName(name), ms, () => undefined),
  };

  readonly clientGate: ClientGate = {
    close: () =>
      this.call(null, 1_000, () => {
        this.gate.open = false;
      }),
    drain: () => this.call(null, 1_000, () => Math.floor(this.random() * 3)),
    openAhead: () => this.call(null, 1_000, () => Math.floor(this.random() * 3)),
    open: (name) =>
      this.call(null, 1_000, () => {
        const node = this.byName(name);
        // Faults of the primary itself come after the promotion as before it; what counts is what was opened to.
        if (node.readOnly && node.state === 'up') this.violate(`opened to ${name}, which is read-only`);
        if (this.options.durability === 'semisync') this.checkNothingLost(node);
        this.gate = { open: true, primary: name };
        this.epoch += 1;
        return this.epoch;
      }),
    reopen: () =>
      this.call(null, 1_000, () => {
        if (this.options.bug === 'no-reopen') return;
        this.gate.open = true;
      }),
    impact: () => this.call(null, 1_000, () => ({ heldStatements: 1, longestStallMs: 1, clientErrors: 0 })),
  };

  context(): RecoveryContext {
    return {
      cluster: 'shop',
      view: () => this.view(),
      nodes: this.control,
      gate: this.clientGate,
      store: this.store,
      clock: this.clock,
      config: config(this.options.bug === 'no-durability-check' ? 'none' : this.options.durability),
      log: { info: () => undefined, warn: () => undefined },
      random: this.random,
    };
  }
}
