// Thousands of recoveries against a cluster in memory, each with its own faults, decided by one seed. A failure
// names its seed: EVENKEEL_SEED=n runs that one alone. The same schedules with a mistake switched on must be
// caught, or the invariants would prove nothing.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type RecoveryRecord, reinstate, runFailover, runRejoin, runSwitchover } from '../../src/recovery/index.ts';
import { UNFINISHED } from '../../src/recovery/journal.ts';
import { randomOf } from '../support/random.ts';
import { type Bug, type Fault, forgetLast, type WorldOptions } from './model.ts';
import { World } from './world.ts';

const SCHEDULES = 1_500;
const only = process.env['EVENKEEL_SEED'];
const seeds = only === undefined ? Array.from({ length: SCHEDULES }, (_, index) => index + 1) : [Number(only)];

function optionsOf(seed: number, bug: Bug, overrides: Partial<WorldOptions> = {}): WorldOptions {
  const random = randomOf(seed * 7_919);
  const pick = <T>(...choices: [T, ...T[]]): T => choices[Math.floor(random() * choices.length)] ?? choices[0];
  const faults: Fault[] = [];
  for (let count = Math.floor(random() * 3); count > 0; count--) {
    const at = Math.floor(random() * 24);
    const kind = pick<Fault['kind']>('error-before', 'error-after', 'slow', 'crash-before', 'crash-after', 'freeze');
    if (kind === 'error-before' || kind === 'error-after' || kind === 'slow' || kind === 'lost')
      faults.push({ at, kind });
    else faults.push({ at, kind, victim: pick('target', 'primary', 'random') });
  }
  return {
    seed,
    flavor: pick('mysql', 'mariadb'),
    nodes: pick(2, 3, 3, 4, 5),
    durability: pick('none', 'semisync'),
    faults,
    bug,
    load: random() < 0.8,
    ...overrides,
  };
}

/** What holds of every record, and of every world when its recovery has ended. */
function checkEnd(world: World, record: RecoveryRecord): void {
  let previous = 0;
  for (const step of record.steps) {
    if (step.startedMs < previous) world.violate(`step ${step.name} stands before one that began earlier`);
    if (step.detail === 'unfinished') world.violate(`step ${step.name} has no end`);
    if (step.durationMs < 0) world.violate(`step ${step.name} took less than no time`);
    previous = step.startedMs;
  }
  if (record.reason === UNFINISHED || record.reason === '') world.violate('the record has no reason');
  const saved = world.store.recovery(record.id);
  if (saved === null) world.violate('the record was not saved');
  else if (JSON.stringify(saved) !== JSON.stringify(record)) world.violate('the saved record is not the last one');
  const writers = world.nodes.filter((one) => one.state === 'up' && !one.readOnly && !one.wasLost);
  if (!world.gate.open && writers.length > 0) {
    world.violate(`the gate stays closed while ${writers.map((one) => one.name).join(', ')} is writable`);
  }
}

async function simulateSwitchover(options: WorldOptions): Promise<{ world: World; record: RecoveryRecord }> {
  const world = new World(options);
  const from = world.gate.primary;
  world.arm();
  const record = await world.run(runSwitchover(world.context()));
  world.disarm();
  checkEnd(world, record);
  const primary = world.byName(world.gate.primary);
  if (record.outcome === 'done') {
    const lost = world.lostOn(primary);
    if (lost > 0)
      world.violate(`the switchover lost ${lost} of ${world.acknowledged.length} acknowledged transactions`);
    if (record.to !== world.gate.primary)
      world.violate(`clients are at ${world.gate.primary}, not at ${String(record.to)}`);
  }
  if (record.outcome === 'rolled-back') {
    if (!world.gate.open) world.violate('rolled back, but the gate is closed');
    if (world.gate.primary !== from) world.violate('rolled back, but clients are elsewhere');
    const old = world.byName(from);
    if (old.state === 'up' && old.readOnly) world.violate('rolled back, but the old primary is read-only');
    const candidate = record.to === null ? null : world.byName(record.to);
    const untouched = candidate !== null && candidate.state === 'up' && !candidate.wasLost && !old.wasLost;
    if (untouched && (candidate.source !== old || !candidate.receiving)) {
      world.violate('rolled back, but the candidate does not replicate');
    }
  }
  return { world, record };
}

/** The primary dies, perhaps others too; failovers are tried as the caller would, while nodes come back. */
async function simulateFailover(options: WorldOptions): Promise<{ world: World; records: RecoveryRecord[] }> {
  const world = new World(options);
  const random = randomOf(options.seed * 31 + 7);
  const primary = world.byName(world.gate.primary);
  const ctx = world.context();
  await world.run(ctx.clock.sleep(random() * 200));
  if (random() < 0.85) world.crash(primary);
  else {
    primary.state = 'frozen';
    primary.wasLost = true;
  }
  if (random() < 0.3) {
    const other = world.nodes[1 + Math.floor(random() * (world.nodes.length - 1))];
    if (other !== undefined) world.crash(other);
  }
  await world.run(ctx.clock.sleep(50 + random() * 100));
  world.arm();
  const records: RecoveryRecord[] = [];
  for (let attempt = 0; attempt < 3; attempt++) {
    const record = await world.run(runFailover(ctx, { reason: 'simulated' }));
    records.push(record);
    if (attempt === 0 || record.reason !== records[attempt - 1]?.reason) checkEnd(world, record);
    if (record.outcome === 'done') break;
    const down = world.nodes.find((one) => one.state !== 'up' && one !== primary);
    if (down !== undefined) world.restart(down);
    await world.run(ctx.clock.sleep(200));
  }
  world.disarm();
  return { world, records };
}

function report(failures: string[], runs: number): void {
  assert.equal(failures.length, 0, `${failures.length} of ${runs} schedules:\n${failures.slice(0, 5).join('\n')}`);
}

describe('simulated recoveries', () => {
  test('a switchover keeps one writer, loses nothing, and goes back whole when it fails', async () => {
    const failures: string[] = [];
    const outcomes = new Map<string, number>();
    for (const seed of seeds) {
      const options = optionsOf(seed, 'none');
      const { world, record } = await simulateSwitchover(options);
      outcomes.set(record.outcome, (outcomes.get(record.outcome) ?? 0) + 1);
      if (world.violations.length > 0) {
        failures.push(`seed ${seed} (${record.outcome}, ${record.reason}): ${world.violations.join('; ')}`);
      }
    }
    report(failures, seeds.length);
    if (only === undefined)
      for (const outcome of ['done', 'failed', 'rolled-back'])
        assert.ok((outcomes.get(outcome) ?? 0) > 20, `${outcome} is rare: nothing is shown of it`);
  });

  test('a failover never opens to a node that lacks an acknowledged write under semi-sync', async () => {
    const failures: string[] = [];
    let promoted = 0;
    let refused = 0;
    for (const seed of seeds) {
      const { world, records } = await simulateFailover(optionsOf(seed, 'none'));
      const last = records.at(-1);
      if (last?.outcome === 'done') promoted += 1;
      else refused += 1;
      if (world.violations.length > 0) {
        failures.push(
          `seed ${seed} (${String(last?.outcome)}, ${String(last?.reason)}): ${world.violations.join('; ')}`,
        );
      }
    }
    report(failures, seeds.length);
    if (only === undefined)
      assert.ok(promoted > seeds.length / 2 && refused > 10, `${promoted} promoted, ${refused} refused`);
  });

  test('without further faults a failover under semi-sync with every replica in reach always promotes', async () => {
    for (const seed of seeds.slice(0, 200)) {
      const world = new World(optionsOf(seed, 'none', { faults: [], durability: 'semisync' }));
      const ctx = world.context();
      world.crash(world.byName(world.gate.primary));
      await world.run(ctx.clock.sleep(100));
      const record = await world.run(runFailover(ctx));
      assert.equal(record.outcome, 'done', `seed ${seed}: ${record.reason}`);
      assert.deepEqual(world.violations, [], `seed ${seed}`);
    }
  });

  test('a primary that comes back joins as a replica, or is kept out and named where it has errant transactions', async () => {
    let joined = 0;
    let keptOut = 0;
    for (const seed of seeds.slice(0, 300)) {
      const { world, records } = await simulateFailover(optionsOf(seed, 'none', { faults: [], load: true }));
      const done = records.at(-1);
      const old = world.byName(done?.from ?? '');
      if (done?.outcome !== 'done' || old.state === 'up') continue;
      world.restart(old);
      const primary = world.byName(world.gate.primary);
      const has = new Set(primary.executed);
      const errant = old.executed.some((one) => !has.has(one));
      const record = await world.run(runRejoin(world.context(), old.name));
      assert.equal(old.readOnly, true, `seed ${seed}: a returning node must not take writes`);
      if (errant) {
        keptOut += 1;
        assert.equal(record.outcome, 'failed', `seed ${seed}`);
        assert.match(record.reason, /kept out/, `seed ${seed}`);
        assert.notEqual(old.source, primary, `seed ${seed}`);
      } else {
        joined += 1;
        assert.equal(record.outcome, 'done', `seed ${seed}: ${record.reason}`);
        assert.equal(old.source, primary, `seed ${seed}`);
      }
    }
    if (only === undefined) assert.ok(joined > 10 && keptOut > 10, `${joined} joined, ${keptOut} kept out`);
  });

  test('a kept connection that broke does not make a living primary dead', async () => {
    const world = new World(optionsOf(1, 'none', { faults: [{ at: 0, kind: 'lost' }], nodes: 3, durability: 'none' }));
    const { primary } = world.gate;
    world.arm();
    const record = await world.run(runFailover(world.context()));
    assert.equal(record.outcome, 'failed');
    assert.match(record.reason, /already recovered/);
    assert.equal(world.gate.primary, primary);
    assert.equal(world.gate.open, true);
    assert.deepEqual(world.violations, []);
  });

  test('a primary that came back read-only with all it had is made writable again', async () => {
    const world = new World(optionsOf(1, 'none', { faults: [], nodes: 3, durability: 'semisync' }));
    const primary = world.byName(world.gate.primary);
    const lastKnown = world.facts(primary);
    world.crash(primary);
    world.gate.open = false;
    world.restart(primary);
    const record = await world.run(reinstate(world.context(), { lastKnown }));
    assert.equal(record.outcome, 'done', record.reason);
    assert.equal(primary.readOnly, false);
    assert.equal(world.gate.open, true);
  });

  test('a primary that lost transactions in its crash is not made writable again', async () => {
    const world = new World(optionsOf(1, 'none', { faults: [], nodes: 3, durability: 'semisync', load: true }));
    const primary = world.byName(world.gate.primary);
    const lastKnown = world.facts(primary);
    world.crash(primary);
    world.gate.open = false;
    forgetLast(primary);
    world.restart(primary);
    const record = await world.run(reinstate(world.context(), { lastKnown }));
    assert.equal(record.outcome, 'failed');
    assert.match(record.reason, /lost transactions/);
    assert.equal(primary.readOnly, true);
  });
});

describe('mistakes that are switched on are caught', () => {
  const mistakes: { bug: Bug; run: 'switchover' | 'failover'; expected: RegExp }[] = [
    { bug: 'no-read-only', run: 'switchover', expected: /two writers|lost|writable/ },
    { bug: 'no-position-wait', run: 'switchover', expected: /lost|without/ },
    { bug: 'no-restore', run: 'switchover', expected: /old primary is read-only/ },
    { bug: 'no-reopen', run: 'switchover', expected: /gate/ },
    { bug: 'no-follow', run: 'switchover', expected: /does not replicate/ },
    { bug: 'ignore-relay-log', run: 'failover', expected: /without \d+ acknowledged/ },
    { bug: 'elect-by-applied', run: 'failover', expected: /without \d+ acknowledged/ },
    { bug: 'no-durability-check', run: 'failover', expected: /without \d+ acknowledged/ },
  ];
  for (const { bug, run, expected } of mistakes) {
    test(`${bug} (${run})`, async () => {
      for (let seed = 1; seed <= SCHEDULES; seed++) {
        const options = optionsOf(seed, bug);
        const { world } = run === 'switchover' ? await simulateSwitchover(options) : await simulateFailover(options);
        if (world.violations.some((text) => expected.test(text))) return;
      }
      assert.fail(`no schedule of ${SCHEDULES} catches ${bug}`);
    });
  }
});
