// Carries out what `decide` says, for one cluster: one recovery at a time, each at most as often as its story allows.
// Between two recoveries it looks again; nothing is remembered here that a restart of this process would miss,
// except how often something was tried.
import { type AnalysisName, type Claim, type CommitHealth, isActionable } from '../cluster/index.ts';
import type { ClusterView, NodeFacts, PrimaryHealth, Problem } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import {
  type FailoverOptions,
  type Floor,
  floorAfter,
  type RecoveryContext,
  type RecoveryRecord,
  type RecoveryStep,
  recordObserved,
} from '../recovery/index.ts';
import { Ages, type Brake, brakeOf, degradedBrake, lastFailoverFailed, movedBy, stoppedBy } from './brake.ts';
import {
  type Action,
  attempted,
  type FailoverStory,
  type FollowStory,
  failoverWindowMs,
  fingerprint,
  type Maintenance,
  noFailovers,
  observe,
  type Stories,
} from './decide.ts';
import { decideByTopology } from './decide-groups.ts';
import { FORSAKEN, type FollowOptions, runFollow } from './follow.ts';
import { OrderError } from './order-error.ts';
import { brakeAfterOutage, noOutage, type Outage, observeOutage } from './outage.ts';
import { type Clock, errorText, type Log } from './ports.ts';
import { Promised } from './promised.ts';
import type { Recoveries } from './recoveries.ts';
import type { ClusterRouting } from './routing.ts';
import { observeUpkeep, type UpkeepStories, upkeepOf } from './upkeep.ts';

/** What runs now. */
export interface Running {
  kind: RecoveryRecord['kind'];
  done: Promise<unknown>;
}

export interface IncidentsOptions {
  routing: ClusterRouting;
  promised: NodeAddress | null;
  recoveries: Recoveries;
  /** With `onProgress` left to us. */
  context: RecoveryContext;
  automatic: boolean;
  view: () => ClusterView;
  health: () => PrimaryHealth;
  commit: () => CommitHealth;
  claim: () => Claim;
  setPrimary: (node: NodeAddress) => void;
  maintenance: () => Maintenance;
  clock: Clock;
  log: Log;
  onStarted: (record: RecoveryRecord) => void;
  onStep: (record: RecoveryRecord, step: RecoveryStep) => void;
  onEnded: (record: RecoveryRecord) => void;
  /** Something that routes or the status follow from has changed. */
  onChanged: () => void;
}

/** An operator's order waits for the end of these, for so long. */
const WAITED_FOR: ReadonlySet<Running['kind']> = new Set(['rejoin', 'semisync', 'follow']);
const upkeepWaitMs = 10_000;
const stopWaitMs = 5000;
/** Of the history, for the brake. */
const BRAKE_RECORDS = 100;

export class Incidents {
  readonly #options: IncidentsOptions;
  #stories: Stories = new Map();
  #failovers: FailoverStory = noFailovers;
  #outage: Outage = noOutage;
  #follow: FollowStory | null = null;
  /** The newest records; null: to be read. */
  #history: RecoveryRecord[] | null = null;
  readonly #ages: Ages;
  #upkeep: UpkeepStories = new Map();
  /** When the last recovery ended, or this process began: one before it may have left something behind. */
  #quietSince: number;
  #running: Running | null = null;
  #former: Set<NodeAddress>;
  readonly #stoppedNodes: Set<NodeAddress>;
  /** What the primary said when it last took writes. */
  #lastWritable: { node: NodeAddress; facts: NodeFacts } | null = null;
  /** What the last of these was learnt from. */
  #remembered: { view: ClusterView | null; primary: NodeAddress | null } = { view: null, primary: null };
  /** When the processes of the nodes had started, as it was while the primary last took writes. */
  #startedAtMs: ReadonlyMap<NodeAddress, number> = new Map();
  /** Whom the process before this one was about to promote when it ended. */
  readonly #promised: Promised;
  /** What a candidate must have under semi-sync. */
  #floor: Floor | null = null;
  /** What was refused and still stands, by the node it is about, or `failover`, or `follow`. Bounded by the view's nodes. */
  readonly #refusals = new Map<string, Problem>();
  #stopped = false;

  constructor(options: IncidentsOptions) {
    this.#options = options;
    this.#quietSince = options.clock.nowMs();
    this.#ages = new Ages(options.clock);
    const { cluster } = options.routing;
    this.#former = new Set();
    const history = options.context.store.history({ cluster, limit: 200 });
    this.#promised = new Promised(options.promised, options.context.store, cluster, options.clock.nowMs());
    for (const record of history) for (const node of movedBy(record)) this.#former.add(node);
    this.#stoppedNodes = new Set(stoppedBy(history));
    // Whatever the old primary acknowledged before that one is followed would be lost.
    if (options.promised !== null && options.automatic) options.routing.hold({ reason: 'failover' });
  }

  get running(): Running | null {
    return this.#running;
  }

  /** Problems that only this manager knows of. */
  problems(): Problem[] {
    const { claim, commit, health } = this.#options;
    const owner = claim();
    if (owner.owner === 'other') return [...this.#refusals.values(), { code: 'recovery-elsewhere', text: owner.text }];
    const dead = health().state === 'dead';
    if (!dead && !isActionable(commit())) return [...this.#refusals.values()];
    const brake = this.#brakes()[dead ? 'dead' : 'answers'];
    if (brake.state === 'free') return [...this.#refusals.values()];
    const mend =
      brake.state === 'stopped' ? ': look into it, then order a failover or a switchover, which ends this' : '';
    const code = brake.state === 'stopped' ? 'recovery-stopped' : (brake.analysis ?? 'recovery-postponed');
    return [...this.#refusals.values(), { code, text: `${brake.reason}${mend}` }];
  }

  /** From the history, which is read anew only when something was added to it. */
  #brakes(): { dead: Brake; answers: Brake; degraded: Brake } {
    const { clock, config, cluster, store } = { ...this.#options.context, cluster: this.#options.routing.cluster };
    this.#history ??= store.history({ cluster, limit: BRAKE_RECORDS });
    const age = (record: RecoveryRecord) => this.#ages.of(record);
    const of = (answers: boolean) => brakeOf(this.#history ?? [], answers, config.failover, age);
    const dead = brakeAfterOutage(this.#outage, this.#options.routing.memory.primary, of(false), clock.nowMs());
    return { dead, answers: of(true), degraded: degradedBrake(this.#history, age) };
  }

  /** Looks at what is seen now and starts what follows from it. Call it after every change, and every while. */
  evaluate(): void {
    const { clock, commit, health, routing, view } = this.#options;
    const now = clock.nowMs();
    this.#stories = observe(this.#stories, view(), now);
    this.#outage = observeOutage(this.#outage, view(), routing.memory.primary, now);
    this.#calm(health());
    if (view().primary === routing.memory.primary) {
      this.#follow = null;
      this.#refusals.delete('follow');
    }
    this.#rememberWritable();
    for (const node of this.#stoppedNodes) if (this.#stories.get(node)?.state === 'ok') this.#stoppedNodes.delete(node);
    if (this.#running || this.#stopped) return;
    const { epoch, nodes, primary } = routing.memory;
    const members = new Set(nodes.map(({ node }) => node));
    const wrong = upkeepOf(view(), this.#options.context.config, members);
    this.#upkeep = observeUpkeep(this.#upkeep, wrong, now);
    const brakes = this.#brakes();
    const action = decideByTopology({
      now,
      view: view(),
      health: health(),
      commit: commit(),
      epoch,
      primary,
      members,
      leftStopped: lastFailoverFailed(this.#history ?? []),
      stopped: this.#stoppedNodes,
      leavesDegraded: this.#options.context.config.switchover.degraded === 'move',
      standBack: this.#options.claim().owner === 'other',
      brakes,
      upkeep: wrong.filter(({ node }) => now >= (this.#upkeep.get(node)?.notBefore ?? now)),
      formerPrimaries: this.#former,
      stories: this.#stories,
      failovers: this.#failovers,
      follow: this.#follow,
      heldSince: routing.heldByRecoverySince,
      awaitsPromised: this.#promised.isAwaited(view(), now),
      quietSince: this.#quietSince,
      maintenance: this.#options.maintenance(),
    });
    this.#act(action);
  }

  /** An operator's switchover. Rejects with an OrderError where it does not begin. */
  async switchover(options: { to?: NodeAddress }): Promise<RecoveryRecord> {
    await this.#free(options.to);
    this.#refuseMidway();
    return this.#order('switchover', (context) => this.#options.recoveries.switchover(context, options));
  }

  /** An operator's failover. Rejects with an OrderError where it does not begin. */
  async failover(options: { to?: NodeAddress; force?: boolean }): Promise<RecoveryRecord> {
    await this.#free(options.to);
    const { to } = options;
    // It takes writes already: what is ordered is that clients are let to it.
    if (
      to !== undefined &&
      options.force === true &&
      to === this.#promised.node &&
      to === this.#options.view().primary
    ) {
      const follow = this.#followOptions(to, 'ordered by the operator', true);
      return this.#order('follow', (context) => runFollow(context, { ...follow, accepted: true, mayFence: true }));
    }
    this.#refuseMidway();
    const all = { ...options, reason: 'ordered by the operator', operator: true, ...this.#past() };
    return this.#order('failover', (context) => this.#options.recoveries.failover(context, all));
  }

  /** What an order would move the primary away from must be where clients are: from there everything acknowledged is taken along. */
  #refuseMidway(): void {
    const { primary } = this.#options.view();
    if (primary === null || primary !== this.#promised.node) return;
    const text = `clients are not let to ${primary} yet, which a recovery that came to no end had promoted (status says why)`;
    throw new OrderError('refused', `${text}; to let them: failover --to ${primary} --force`);
  }

  #followOptions(to: NodeAddress, reason: string, promote: boolean): FollowOptions {
    const { automatic, claim, maintenance, routing } = this.#options;
    const { epoch, primary } = routing.memory;
    // In maintenance, or where somebody else recovers, nothing is changed on any node.
    const mayFence = automatic && !maintenance().cluster && claim().owner === 'us';
    return { from: primary, to, epoch, reason, promote, mayFence };
  }

  async #order(
    kind: Running['kind'],
    work: (context: RecoveryContext) => Promise<RecoveryRecord>,
  ): Promise<RecoveryRecord> {
    const owner = this.#options.claim();
    if (owner.owner === 'other') throw new OrderError('refused', `${owner.text}; order it there, or stop that one`);
    const { begun, record } = await this.#run(kind, work);
    if (!begun) throw new OrderError('refused', record.reason.replace(/^refused: /, ''));
    return record;
  }

  /** Starts nothing any more; resolves when what runs has ended, or has had its time: its workers are gone. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (!this.#running) return;
    const enough = new AbortController();
    const ended = this.#running.done.catch(() => undefined).finally(() => enough.abort());
    const tooLong = this.#options.context.clock.sleep(stopWaitMs, enough.signal).catch(() => undefined);
    await Promise.race([ended, tooLong]);
  }

  async #free(to: NodeAddress | undefined): Promise<void> {
    const { clock, routing, view } = this.#options;
    const deadline = clock.nowMs() + upkeepWaitMs;
    while (this.#running && WAITED_FOR.has(this.#running.kind) && clock.nowMs() < deadline) {
      const { done } = this.#running;
      await Promise.race([done.catch(() => undefined), this.#options.context.clock.sleep(deadline - clock.nowMs())]);
    }
    if (this.#running) throw new OrderError('busy', `a ${this.#running.kind} of ${routing.cluster} is running`);
    if (this.#stopped) throw new OrderError('busy', 'the control process is stopping');
    if (to !== undefined && !view().nodes.some((node) => node.node === to)) {
      throw new OrderError('unknown-node', `${routing.cluster} has no node ${to}`);
    }
  }

  /** Forgets what no longer stands. */
  #calm(health: PrimaryHealth): void {
    if (health.state === 'alive' && !isActionable(this.#options.commit())) {
      this.#failovers = noFailovers;
      this.#refusals.delete('failover');
    }
    for (const key of this.#refusals.keys()) {
      const story = this.#stories.get(key);
      if (key !== 'failover' && key !== 'follow' && (!story || story.state === 'ok' || story.state === 'lagging'))
        this.#refusals.delete(key);
    }
  }

  #act(action: Action): void {
    const { automatic, health, onChanged, recoveries, routing, setPrimary } = this.#options;
    switch (action.do) {
      case 'nothing':
        return;
      case 'begin':
        routing.promote(action.primary, 'first');
        setPrimary(action.primary);
        onChanged();
        return;
      case 'follow': {
        const promised = this.#promised.node === action.primary;
        const reason = promised ? 'a recovery that came to no end had promoted it' : action.reason;
        const options = this.#followOptions(action.primary, reason, automatic && promised);
        this.#countFollow(action.primary);
        this.#start('follow', action.analysis, (context) => runFollow(context, options));
        return;
      }
      case 'failover':
        if (!automatic) return this.#wouldHave(action);
        // A primary that is left alive may stay as it is: each attempt in vain is followed by a longer pause.
        if (health().state === 'alive' && !this.#mayMend(routing.memory.primary ?? '')) return;
        this.#countFailover();
        this.#start('failover', action.analysis, (context) =>
          recoveries.failover(context, {
            reason: action.reason,
            ...this.#past(),
            cannotCommit: action.answers,
          }),
        );
        return;
      case 'switchover':
        if (!automatic) return this.#wouldHave(action);
        this.#start('switchover', action.analysis, (context) =>
          recoveries.switchover(context, { reason: action.reason }),
        );
        return;
      case 'reinstate':
        if (!automatic) return this.#wouldHave(action);
        if (!this.#mayMend(action.node)) return;
        this.#start('reinstate', action.analysis, (context) =>
          recoveries.reinstate(context, {
            lastKnown: this.#lastKnown(action.node),
            startedAtMs: this.#startedAtMs,
          }),
        );
        return;
      case 'rejoin':
        if (!automatic) return this.#wouldHave(action);
        if (!this.#mayMend(action.node)) return;
        this.#start('rejoin', action.analysis, (context) => recoveries.rejoin(context, action.node));
        return;
      case 'semisync': {
        if (!automatic) return;
        const story = this.#upkeep.get(action.node) ?? { attempts: 0, notBefore: 0 };
        this.#upkeep = new Map(this.#upkeep).set(action.node, attempted(story, this.#options.clock.nowMs()));
        const { node, reason, role } = action;
        this.#start('semisync', action.analysis, (context) => recoveries.semisync(context, { node, role, reason }));
        return;
      }
      case 'release':
        this.#options.log.info({ cluster: routing.cluster }, 'the primary is fit again: the hold of a recovery ends');
        routing.release();
        this.#forsake();
        onChanged();
    }
  }

  /** From now on clients are told what the promised node has not: where it comes back, it is a writer beside the primary. */
  #forsake(): void {
    const { routing, setPrimary } = this.#options;
    if (this.#promised.forsake() && routing.memory.primary !== null) setPrimary(routing.memory.primary);
  }

  /** Counts the attempt; false where it is too early for one. */
  #mayMend(node: NodeAddress): boolean {
    const story = this.#stories.get(node);
    const now = this.#options.clock.nowMs();
    if (!story || now < story.notBefore) return false;
    this.#stories = new Map(this.#stories).set(node, attempted(story, now));
    return true;
  }

  #countFailover(): void {
    const now = this.#options.clock.nowMs();
    const recent = this.#failovers.attempts.filter((at) => now - at < failoverWindowMs);
    this.#failovers = { attempts: [...recent, now], refusedView: fingerprint(this.#options.view()) };
  }

  #countFollow(to: NodeAddress): void {
    const story = this.#follow?.to === to ? this.#follow : { to, attempts: 0, notBefore: 0 };
    this.#follow = attempted(story, this.#options.clock.nowMs());
  }

  #rememberWritable(): void {
    const { routing } = this.#options;
    const { primary } = routing.memory;
    const view = this.#options.view();
    if (view === this.#remembered.view && primary === this.#remembered.primary) return;
    this.#remembered = { view, primary };
    const seen = view.nodes.find(({ node }) => node === primary)?.observation;
    // With asynchronous replication nothing was promised that could stand in it.
    const promised = this.#options.context.config.durability !== 'none';
    if (promised && (view.topology ?? 'replication') === 'replication') {
      this.#floor = floorAfter(this.#floor, view, primary);
    }
    if (primary === null || seen?.facts?.readOnly !== false) return;
    this.#lastWritable = { node: primary, facts: seen.facts };
    if (seen.reach.state !== 'up') return;
    const started = view.nodes.flatMap(({ node, observation: { facts } }): [NodeAddress, number][] =>
      facts === null ? [] : [[node, facts.startedAtMs]],
    );
    this.#startedAtMs = new Map(started);
  }

  #past(): Pick<FailoverOptions, 'startedAtMs' | 'floor' | 'promised'> {
    return { startedAtMs: this.#startedAtMs, floor: this.#floor, promised: this.#promised.node };
  }

  #lastKnown(node: NodeAddress): NodeFacts | null {
    return this.#lastWritable?.node === node ? this.#lastWritable.facts : null;
  }

  #start(
    kind: Running['kind'],
    analysis: AnalysisName,
    work: (context: RecoveryContext) => Promise<RecoveryRecord>,
  ): void {
    this.#run(kind, (context) => work({ ...context, analysis })).catch((error: unknown) => {
      this.#options.log.error({ cluster: this.#options.routing.cluster, kind, error: errorText(error) }, 'not begun');
    });
  }

  /** Runs `work` as the only one of this cluster. `begun` is false where it was refused before anything was touched. */
  async #run(
    kind: Running['kind'],
    work: (context: RecoveryContext) => Promise<RecoveryRecord>,
  ): Promise<{ begun: boolean; record: RecoveryRecord }> {
    const { onChanged, onEnded, onStarted, onStep } = this.#options;
    let begun = false;
    const context: RecoveryContext = {
      ...this.#options.context,
      onProgress: (record, step) => {
        if (step) {
          if (begun) onStep(record, step);
          return;
        }
        // What was looked at before it began is told now: a refusal that repeats itself is no news at all.
        begun = true;
        onStarted(record);
        for (const earlier of record.steps) onStep(record, earlier);
      },
    };
    // The route that it leaves behind is looked at before anyone acts on its end.
    const done = Promise.resolve().then(() => work(context));
    this.#running = { kind, done };
    onChanged();
    try {
      const record = await done;
      this.#ages.ended(record);
      this.#learn(record);
      for (const node of stoppedBy([record])) this.#stoppedNodes.add(node);
      if (this.#judge(record) || begun) onEnded(record);
      return { begun, record };
    } finally {
      this.#running = null;
      this.#history = null;
      this.#quietSince = this.#options.clock.nowMs();
      onChanged();
    }
  }

  #learn(record: RecoveryRecord): void {
    if (record.kind === 'follow' && record.reason.startsWith(FORSAKEN)) this.#forsake();
    const moved = movedBy(record);
    for (const node of moved) this.#former.add(node);
    if (moved.length > 0) this.#promised.end();
  }

  /** Whether its end is news: false where it repeats a refusal that stands. */
  #judge(record: RecoveryRecord): boolean {
    if (record.kind === 'switchover') return true;
    const isMove = record.kind === 'failover' || record.kind === 'follow';
    const node = isMove ? null : record.to;
    const key = isMove ? record.kind : (node ?? 'failover');
    if (record.outcome === 'done') {
      this.#refusals.delete(key);
      return true;
    }
    const text = `${record.kind}: ${record.reason.replace(/^refused: /, '')}`;
    if (this.#refusals.get(key)?.text === text) return false;
    this.#refusals.set(key, { code: 'recovery-refused', ...(node === null ? {} : { node }), text });
    return true;
  }

  #wouldHave(action: Extract<Action, { analysis: AnalysisName }>): void {
    const node = 'node' in action ? action.node : null;
    const text = `recovery is set to observe; it would have done: ${action.do}${node === null ? '' : ` of ${node}`}`;
    const key = node ?? 'failover';
    if (this.#refusals.get(key)?.text === text) return;
    this.#refusals.set(key, { code: 'recovery-observed', ...(node === null ? {} : { node }), text });
    const context = { ...this.#options.context, analysis: action.analysis };
    recordObserved(context, action.do, node, `would have begun a ${action.do}: ${action.reason}`)
      .then((record) => this.#options.onEnded(record))
      .catch((error: unknown) => this.#options.log.warn({ error: errorText(error) }, 'not recorded'));
    this.#options.log.warn({ cluster: this.#options.routing.cluster, action: action.do, reason: action.reason }, text);
    this.#options.onChanged();
  }
}
