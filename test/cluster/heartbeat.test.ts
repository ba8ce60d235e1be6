// What our own overdue or refused write says about the primary, as stories of events in time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  beat,
  type CommitHealth,
  type HeartbeatEvent,
  isActionable,
  newHeartbeat,
  type WaitFacts,
} from '../../src/cluster/heartbeat.ts';

const settings = { deadlineMs: 2000, degradedAfterMs: 30_000 };

/** The health after these events, each at its time. */
function after(...events: [number, HeartbeatEvent][]): CommitHealth {
  return events.reduce((state, [at, event]) => beat(state, event, settings, at), newHeartbeat).health;
}

const sent: [number, HeartbeatEvent] = [0, { type: 'sent' }];
const looked = (at: number, wait: Partial<WaitFacts>): [number, HeartbeatEvent] => [
  at,
  { type: 'looked', wait: { state: 'waiting for handler commit', diskFull: null, io: String(at), ...wait } },
];

function analysisOf(health: CommitHealth): string {
  return health.state === 'stuck' ? health.analysis : health.state;
}

test('a write that ends is health, however long it took', () => {
  assert.deepEqual(after(sent, [1500, { type: 'committed', latencyMs: 1500 }]), { state: 'ok', latencyMs: 1500 });
});

test('a write that is not overdue yet says nothing, whatever it waits for', () => {
  assert.equal(after(sent, looked(1999, { state: 'Waiting for semi-sync ACK from replica' })).state, 'unknown');
});

test('an overdue write is named after what the server says it waits for', () => {
  const cases: [Partial<WaitFacts>, string][] = [
    [{ state: 'Waiting for semi-sync ACK from replica' }, 'primary-waits-for-replicas'],
    [{ state: 'Waiting for semi-sync ACK from slave' }, 'primary-waits-for-replicas'],
    [{ state: 'Waiting for someone to free space' }, 'primary-disk-full'],
    [
      { diskFull: "Disk is full writing './binlog.000002' (OS errno 28 - No space left on device)." },
      'primary-disk-full',
    ],
    [{ state: 'Waiting for global read lock' }, 'primary-locked'],
    [{ state: 'Waiting for commit lock' }, 'primary-locked'],
    [{ state: 'Waiting for backup lock' }, 'primary-locked'],
    [{ state: 'Waiting for table metadata lock' }, 'primary-locked'],
    [{ state: 'Waiting for table flush' }, 'primary-locked'],
  ];
  for (const [wait, analysis] of cases) assert.equal(analysisOf(after(sent, looked(2000, wait))), analysis);
});

test('without a cause, nothing that moves is a stalled disk, and something that moves is a commit that is late', () => {
  assert.equal(analysisOf(after(sent, looked(1000, { io: 'a' }), looked(2000, { io: 'a' }))), 'primary-stalled');
  assert.equal(analysisOf(after(sent, looked(1000, { io: 'a' }), looked(2000, { io: 'b' }))), 'primary-commits-late');
  assert.equal(after(sent, looked(2000, { io: 'a' })).state, 'unknown', 'one look cannot tell');
  assert.equal(after(sent, looked(1900, { io: 'a' }), looked(2000, { io: 'a' })).state, 'unknown', 'nor two at a time');
});

test('a full disk is believed at the second refusal, and forgotten at the first write that succeeds', () => {
  const full: HeartbeatEvent = { type: 'refused', errno: 1114, error: "The table 'heartbeat' is full" };
  assert.equal(after(sent, [1, full]).state, 'unknown');
  assert.equal(analysisOf(after(sent, [1, full], [500, { type: 'sent' }], [501, full])), 'primary-disk-full');
  const space: HeartbeatEvent = {
    type: 'refused',
    errno: 1026,
    error: 'Error writing file (errno: 28 "No space left on device")',
  };
  assert.equal(analysisOf(after(sent, [1, space], [500, { type: 'sent' }], [501, space])), 'primary-disk-full');
  const freed: [number, HeartbeatEvent] = [900, { type: 'committed', latencyMs: 1 }];
  assert.equal(after(sent, [1, full], [501, full], freed, [1000, full]).state, 'unknown');
});

test('other errors say nothing of the disk: a missing privilege is no reason to promote anybody', () => {
  const denied: HeartbeatEvent = { type: 'refused', errno: 1142, error: 'INSERT command denied to user' };
  const health = after(sent, [1, denied], [10_000, { type: 'sent' }], [10_001, denied]);
  assert.deepEqual(health, { state: 'unknown', why: 'INSERT command denied to user' });
});

test('a connection that broke neither heals what was stuck nor makes it stuck', () => {
  const stuck = [sent, looked(1000, { io: 'a' }), looked(2000, { io: 'a' })] as const;
  const lost: HeartbeatEvent = { type: 'lost', error: 'reset' };
  assert.equal(analysisOf(after(...stuck, [2100, lost])), 'primary-stalled');
  assert.equal(after(sent, [100, lost]).state, 'unknown');
});

test('commits that become far slower are told as such, also after one that did not end', () => {
  const events: [number, HeartbeatEvent][] = [];
  for (let i = 0; i < 200; i++) events.push([i * 500, { type: 'committed', latencyMs: 4 }]);
  events.push([100_000, { type: 'sent' }], [100_100, { type: 'lost', error: 'reset' }]);
  for (let i = 0; i < 100; i++) events.push([101_000 + i * 500, { type: 'committed', latencyMs: 300 }]);
  const health = after(...events);
  assert.equal(health.state === 'ok' && Math.round(health.degraded?.usualMs ?? 0), 4);
});

test("somebody's lock and somebody's large transaction are no reason to promote anybody", () => {
  const stuck = (analysis: 'primary-locked' | 'primary-commits-late' | 'primary-stalled') =>
    isActionable({ state: 'stuck', analysis, since: 0, reason: '' });
  assert.deepEqual(
    [stuck('primary-locked'), stuck('primary-commits-late'), stuck('primary-stalled')],
    [false, false, true],
  );
});
