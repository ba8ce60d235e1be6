// The one screen: what it shows, that it fits, and that without a terminal there are plain lines.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { drawScene, noColours, type Scene } from '../../src/demo/scene.ts';
import { screenFor } from '../../src/demo/screen.ts';

const scene: Scene = {
  title: 'evenkeel demo: MariaDB',
  elapsedMs: 12_345,
  endpoint: '127.0.0.1:6446',
  clients: 32,
  nodes: [
    { name: 'node1', address: '127.0.0.1:3301', role: 'down', detail: 'does not answer' },
    { name: 'node2', address: '127.0.0.1:3302', role: 'primary', detail: '' },
    { name: 'node3', address: '127.0.0.1:3303', role: 'replica', detail: '' },
  ],
  workload: {
    elapsedMs: 12_345,
    ratePerSecond: 1234,
    waitingMs: 240,
    longestMs: 240,
    acknowledged: 5678,
    readsChecked: 5600,
    errors: 0,
    unknown: 3,
    connected: 31,
  },
  slices: Array.from({ length: 200 }, (_, index) => ({ answered: index, errors: 0, longestMs: 1, waitMs: 1 })),
  notes: [
    { atMs: 100, kind: 'plain', text: '32 clients write' },
    { atMs: 9000, kind: 'fault', text: '$ kill -9 4711' },
  ],
};

test('the screen shows nodes with their roles, the rate, the waits and what happened', () => {
  const text = drawScene(scene, 100, 40, noColours).join('\n');
  for (const part of [
    'node1  DOWN     127.0.0.1:3301  does not answer',
    '32 clients ──► Evenkeel 127.0.0.1:6446 ──► node2  PRIMARY',
    'node3  replica',
    '1,234 statements a second',
    'waiting now 240 ms',
    '5,678 writes confirmed',
    '1 connections lost',
    '3 unknown',
    '0.1 s    32 clients write',
    '9.0 s    $ kill -9 4711',
  ]) {
    assert.ok(text.includes(part), `${part}\nis not in\n${text}`);
  }
});

test('the screen fits the terminal, and the newest notes stay', () => {
  const notes = Array.from({ length: 50 }, (_, index) => ({
    atMs: index * 1000,
    kind: 'plain' as const,
    text: `note ${index} which says a lot more than fits into one line of a terminal that is as narrow as this one is`,
  }));
  for (const [width, height] of [
    [100, 40],
    [80, 23],
    [60, 18],
  ] as const) {
    const lines = drawScene({ ...scene, notes }, width, height, noColours);
    assert.ok(lines.length <= height, `${lines.length} lines in ${height}`);
    for (const line of lines) assert.ok(line.length <= width, line);
    assert.ok(lines.some((line) => line.includes('note 49')));
  }
});

function sinkOf(isTTY: boolean): {
  sink: { isTTY: boolean; columns: number; rows: number; write: (text: string) => void };
  text: () => string;
} {
  let written = '';
  const write = (text: string): void => {
    written += text;
  };
  return { sink: { isTTY, columns: 100, rows: 40, write }, text: () => written };
}

test('without a terminal each note is one plain line, told once', () => {
  const { sink, text } = sinkOf(false);
  const screen = screenFor(sink, {});
  screen.show(scene);
  screen.show(scene);
  screen.line('the end');
  assert.equal(text().match(/kill -9 4711/g)?.length, 1);
  assert.ok(!text().includes('\x1b'));
  assert.ok(text().endsWith('the end\n'));
});

test('on a terminal the screen is drawn over itself', () => {
  const { sink, text } = sinkOf(true);
  const screen = screenFor(sink, {});
  screen.show(scene);
  const once = text().split('\n').length - 1;
  screen.show(scene);
  assert.ok(text().includes(`\x1b[${once}A`));
});

test('NO_COLOR is obeyed', () => {
  const { sink, text } = sinkOf(true);
  screenFor(sink, { NO_COLOR: '1' }).show(scene);
  assert.ok(!text().includes('\x1b[32m'));
});
