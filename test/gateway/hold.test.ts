// The hold under simulation: thousands of schedules of everything that may happen to it, checked after each step
// against what must always be true. The same check is run on versions of the hold with a bug put in, to show that it
// would notice.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { describe, test } from 'node:test';
import type { Hold, HoldBudget, HoldLimits, Waiter } from '../../src/gateway/hold.ts';
import * as real from '../../src/gateway/hold.ts';
import fc, { seed } from '../seed.ts';

type HoldModule = Pick<typeof real, 'Hold' | 'HoldBudget'>;

const LIMITS: HoldLimits = { timeoutMs: 100, maxStatements: 8, maxBytes: 60, releaseConcurrency: 2 };

/** What a statement does when it is let go. */
type OnRelease =
  | 'runs' // its answer comes later
  | 'ends' // it is answered at once
  | 'returns' // it finds the way closed, and waits again
  | 'brings-next'; // it is answered at once, and its client sends the next

type Step =
  | { do: 'enter'; hold: number; bytes: number; ageMs: number; onRelease: OnRelease }
  | { do: 'close' | 'open'; hold: number }
  | { do: 'settle' | 'abandon' | 'come-back'; which: number }
  | { do: 'wait'; ms: number };

/** A statement, and what is known of its place. */
interface Subject extends Waiter {
  hold: number;
  since: number;
  number: number;
  at: 'waiting' | 'running' | 'gone';
  onRelease: OnRelease;
}

class Simulation {
  now = 1000;
  readonly budget: HoldBudget;
  readonly holds: Hold[];
  readonly subjects: Subject[] = [];
  #closed = [false, false];
  #number = 0;
  #limits: HoldLimits;

  constructor(module: HoldModule, limits: HoldLimits) {
    this.#limits = limits;
    this.budget = new module.HoldBudget();
    this.holds = [new module.Hold(limits, this.budget), new module.Hold(limits, this.budget)];
  }

  #at(at: Subject['at'], hold?: number): Subject[] {
    return this.subjects.filter((each) => each.at === at && (hold === undefined || each.hold === hold));
  }

  step(step: Step): void {
    switch (step.do) {
      case 'enter':
        this.#arrive(step.hold, step.bytes, this.now - step.ageMs, step.onRelease);
        break;
      case 'close':
        this.#closed[step.hold] = true;
        this.#hold(step.hold).close('detector', this.now);
        break;
      case 'open':
        this.#closed[step.hold] = false;
        this.#hold(step.hold).open();
        break;
      case 'settle':
      case 'come-back': {
        const running = this.#at('running');
        const subject = running[step.which % running.length];
        if (subject === undefined) break;
        if (step.do === 'settle') this.#settle(subject);
        else this.#enter(subject);
        break;
      }
      case 'abandon': {
        const there = this.subjects.filter((each) => each.at !== 'gone');
        const subject = there[step.which % there.length];
        if (subject === undefined) break;
        subject.at = 'gone';
        this.#hold(subject.hold).abandon(subject);
        break;
      }
      case 'wait':
        this.now += step.ms;
        this.holds.forEach((hold, index) => {
          const next = hold.expire(this.now);
          const deadlines = this.#at('waiting', index).map((each) => each.since + this.#limits.timeoutMs);
          assert.equal(next, deadlines.length === 0 ? null : Math.min(...deadlines), 'the next deadline');
          assert.ok(next === null || next > this.now, 'nobody waits beyond the time-out');
        });
    }
    this.check();
  }

  #hold(index: number): Hold {
    return this.holds[index] as Hold;
  }

  #arrive(hold: number, bytes: number, since: number, onRelease: OnRelease): void {
    const subject: Subject = {
      hold,
      bytes,
      since,
      number: 0,
      at: 'gone',
      onRelease,
      release: () => this.#released(subject),
      refuse: (exit, _reason, waitedMs) => {
        assert.equal(subject.at, 'waiting', 'refused while it does not wait');
        assert.equal(waitedMs, this.now - subject.since);
        if (exit === 'timed-out') assert.ok(waitedMs >= this.#limits.timeoutMs, 'refused too early');
        subject.at = 'gone';
        this.#hold(subject.hold).settled(subject); // as a statement does when it is finished
      },
    };
    this.subjects.push(subject);
    this.#enter(subject);
  }

  #enter(subject: Subject): void {
    subject.at = 'waiting';
    subject.number = this.#number++;
    this.#hold(subject.hold).enter(subject, subject.since, this.now);
  }

  #released(subject: Subject): void {
    assert.equal(subject.at, 'waiting', 'released while it does not wait');
    assert.ok(!this.#closed[subject.hold], 'released from a closed hold');
    for (const other of this.#at('waiting', subject.hold)) {
      const older = other.since < subject.since || (other.since === subject.since && other.number < subject.number);
      assert.ok(!older, 'released before one that arrived earlier');
    }
    subject.at = 'running';
    assert.ok(this.#at('running', subject.hold).length <= this.#limits.releaseConcurrency, 'too many released at once');
    switch (subject.onRelease) {
      case 'runs':
        return;
      case 'ends':
        return this.#settle(subject);
      case 'brings-next':
        this.#settle(subject);
        if (this.subjects.length < 500) this.#arrive(subject.hold, subject.bytes, this.now, 'ends');
        return;
      case 'returns':
        subject.onRelease = 'runs';
        this.#closed[subject.hold] = true;
        this.#hold(subject.hold).close('failover', this.now);
        this.#enter(subject);
    }
  }

  #settle(subject: Subject): void {
    subject.at = 'gone';
    this.#hold(subject.hold).settled(subject);
  }

  check(): void {
    const { budget } = this;
    const waiting = this.#at('waiting');
    assert.ok(budget.balances(), 'the sums agree');
    assert.equal(budget.waiting, waiting.length, 'as many wait as are counted');
    assert.equal(
      budget.bytes,
      waiting.reduce((sum, each) => sum + each.bytes, 0),
      'as many bytes wait as are counted',
    );
    assert.ok(budget.waiting <= this.#limits.maxStatements, 'the bound of statements');
    assert.ok(budget.bytes <= this.#limits.maxBytes, 'the bound of bytes');
    this.holds.forEach((hold, index) => {
      const here = this.#at('waiting', index).length;
      assert.equal(hold.waiting, here);
      assert.equal(hold.closedFor !== null, this.#closed[index]);
      if (hold.passes) assert.equal(here, 0, 'something waits in an open hold');
      if (hold.closedFor !== null || here === 0) return;
      const running = this.#at('running', index).length;
      assert.ok(running >= this.#limits.releaseConcurrency, 'something waits though the way is free');
    });
  }

  /** The way opens, every answer comes: nothing may be left. */
  finish(): void {
    for (let round = 0; round < 1000 && this.subjects.some((each) => each.at !== 'gone'); round++) {
      this.step({ do: 'open', hold: round % 2 });
      this.step({ do: 'settle', which: round });
    }
    for (const hold of [0, 1]) this.step({ do: 'open', hold });
    assert.ok(
      this.subjects.every((each) => each.at === 'gone'),
      'something was forgotten',
    );
    for (const hold of this.holds) assert.ok(hold.passes && hold.settledDown);
  }
}

const hold = fc.nat(1);
const which = fc.nat(1000);
const onRelease = fc.constantFrom<OnRelease>('runs', 'runs', 'ends', 'returns', 'brings-next');
const enter = fc.record({
  do: fc.constant('enter' as const),
  hold,
  bytes: fc.integer({ min: 1, max: 20 }),
  ageMs: fc.oneof(fc.constant(0), fc.nat(99)),
  onRelease,
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: enter },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('close' as const), hold }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('open' as const), hold }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('settle' as const), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('abandon' as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('come-back' as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(70) }) },
);

function simulate(module: HoldModule, options: { seed: number; numRuns: number }): fc.RunDetails<[Step[]]> {
  const schedule = fc.array(step, { minLength: 5, maxLength: 60, size: 'max' });
  return fc.check(
    fc.property(schedule, (steps) => {
      const simulation = new Simulation(module, LIMITS);
      for (const each of steps) simulation.step(each);
      simulation.finish();
    }),
    { ...options, endOnFailure: true },
  );
}

test('over thousands of schedules: in order, bounded, without a stampede, and everyone leaves once', () => {
  const result = simulate(real, { seed, numRuns: 4000 });
  const schedule = JSON.stringify(result.counterexample);
  assert.ok(!result.failed, `seed ${seed}: ${String(result.errorInstance)} after ${schedule}`);
});

describe('the simulation notices', () => {
  const BUGS: [what: string, from: string, to: string][] = [
    ['a queue in the wrong order', 'a.since < b.since;', 'a.since > b.since;'],
    ['a stampede', 'if (this.#running.size >= this.#limits.releaseConcurrency) return;', ''],
    ['an expired statement that stays', 'if (deadline > now) return deadline;', 'return deadline;'],
    ['a bound that is not kept', 'budget.waiting > this.#limits.maxStatements', 'false'],
    ['bytes that are not given back', 'this.#budget.bytes -= entry.waiter.bytes;', ''],
    ['bytes without a bound', 'budget.bytes > this.#limits.maxBytes', 'false'],
    ['an exit that is not counted', 'this.#budget.exits[exit]++;', ''],
    ['an abandoned statement that still waits', "if (entry !== undefined) this.#leave(entry, 'abandoned');", ''],
    [
      'a settling that lets nobody go',
      'if (this.#running.delete(waiter)) this.#pump();',
      'this.#running.delete(waiter);',
    ],
    [
      'a hold that opens only for what is new',
      'reason: this.#state.reason };\n    this.#pump();',
      'reason: this.#state.reason };',
    ],
    // This one was there: the place of a statement that came back and was refused was given to nobody.
    [
      'a refusal at the bound that lets nobody go',
      "this.#refuse(entry, 'evicted-count', now);",
      "return this.#refuse(entry, 'evicted-count', now);",
    ],
    ['a place that stays taken by one that waits again', '    this.#running.delete(waiter);\n    const', '    const'],
  ];
  for (const [what, from, to] of BUGS) {
    test(what, async () => {
      const source = await readFile(new URL('../../src/gateway/hold.ts', import.meta.url), 'utf8');
      assert.equal(source.split(from).length, 2, `"${from}" stands in hold.ts once`);
      const code = stripTypeScriptTypes(source.replace(from, to));
      const module = (await import(`data:text/javascript,${encodeURIComponent(code)}`)) as HoldModule;
      assert.ok(simulate(module, { seed: 1, numRuns: 2000 }).failed);
    });
  }
});

// ---- what the words and numbers are --------------------------------------------------------------------------------------

interface Seen extends Waiter {
  seen: string[];
}

function waiter(bytes = 1): Seen {
  const seen: string[] = [];
  return {
    bytes,
    seen,
    release: () => void seen.push('released'),
    refuse: (exit, reason, waitedMs) => void seen.push(`${exit} ${reason} ${waitedMs}`),
  };
}

function newHold(limits: Partial<HoldLimits> = {}): { hold: Hold; budget: HoldBudget } {
  const budget = new real.HoldBudget();
  return { hold: new real.Hold({ ...LIMITS, ...limits }, budget), budget };
}

test('each way out has its name, and is told with the reason of the hold and the time waited', () => {
  const { hold, budget } = newHold({ maxStatements: 1, maxBytes: 5 });
  hold.close('no-primary', 0);
  const [first, second, third] = [waiter(), waiter(), waiter(6)];
  hold.enter(first, 0, 0);
  hold.enter(second, 5, 9);
  assert.deepEqual(second.seen, ['evicted-count no-primary 4']);
  hold.close('failover', 50); // the reason may change while they wait
  assert.equal(hold.expire(99), 100);
  assert.equal(hold.expire(100), null);
  assert.deepEqual(first.seen, ['timed-out failover 100']);
  hold.enter(third, 100, 100);
  assert.deepEqual(third.seen, ['evicted-bytes failover 0']);
  const fourth = waiter();
  hold.enter(fourth, 100, 100);
  hold.abandon(fourth);
  const fifth = waiter();
  hold.enter(fifth, 101, 101);
  hold.open();
  assert.deepEqual(fifth.seen, ['released']);
  assert.deepEqual(budget.exits, { released: 1, 'timed-out': 1, 'evicted-count': 1, 'evicted-bytes': 1, abandoned: 1 });
  assert.deepEqual([...budget.starts], [['no-primary', 1]]);
});

test('a statement that comes back while the way is open goes at once, and newer ones behind it', () => {
  const { hold } = newHold({ releaseConcurrency: 1 });
  const [old, newer] = [waiter(), waiter()];
  hold.enter(old, 0, 10);
  assert.deepEqual(old.seen, ['released']);
  hold.enter(newer, 5, 10);
  assert.deepEqual(newer.seen, []);
  hold.enter(old, 0, 11);
  assert.deepEqual(old.seen, ['released', 'released']);
  assert.deepEqual(newer.seen, []);
  hold.settled(old);
  assert.deepEqual(newer.seen, ['released']);
});

test('ten thousand statements that are answered at once when they are let go do not nest', () => {
  const { hold, budget } = newHold({ maxStatements: 10_000, maxBytes: 1e6 });
  hold.close('paused', 0);
  let answered = 0;
  for (let i = 0; i < 10_000; i++) {
    const each: Waiter = {
      bytes: 1,
      release: () => {
        answered++;
        hold.settled(each);
      },
      refuse: () => assert.fail('refused'),
    };
    hold.enter(each, 10_000 - i, 0); // the worst order
  }
  hold.open();
  assert.equal(answered, 10_000);
  assert.ok(hold.passes && budget.balances());
});
