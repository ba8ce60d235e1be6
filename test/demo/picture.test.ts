// The pictures: block characters for the terminal and SVG for the README.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { columns, panel, scaleTop } from '../../src/demo/picture.ts';
import { svg } from '../../src/demo/svg.ts';
import { Timeline } from '../../src/drill/index.ts';

/** Ten statements in each 100 ms for four seconds, but none from 2.0 to 2.4 s, when ten clients waited. */
function stalled(): Timeline {
  const timeline = new Timeline();
  for (let at = 0; at < 4000; at += 10) {
    if (at < 2000 || at >= 2400) timeline.record(at, at + 2, true);
  }
  for (let client = 0; client < 10; client += 1) timeline.record(2000, 2400, true);
  return timeline;
}

test('columns rise by eighths, and what is little is still seen', () => {
  assert.deepEqual(columns([0, 0.1, 4, 8, 12, 16, 99], 16, 2), ['    ▄██', ' ▁▄████']);
});

test('a panel shows the gap in the rate and the rise of the wait at the fault', () => {
  const lines = panel(stalled().slices, {
    title: 'a fault',
    fault: 'kill -9',
    faultMs: 2000,
    beforeMs: 500,
    afterMs: 1000,
    sliceMs: 100,
    topRate: 100,
    topWaitMs: 400,
  });
  assert.deepEqual(lines, [
    'a fault',
    '      100/s ┤█████    ██████',
    '   answered │█████    ██████',
    '            │█████    ██████',
    '            │█████    ██████',
    '          0 ┼─────┴─────────',
    '     400 ms ┤       ▂██',
    '    waiting │      ▄███',
    '            │▁▁▁▁▁▆████▁▁▁▁▁',
    '          0 ┼─────┴─────────',
    '                  ▲ kill -9',
  ]);
});

test('a scale ends at a round number that holds every value', () => {
  for (const value of [0, 0.5, 1, 7, 11, 149, 150, 151, 999, 1001, 8001, 98_765]) {
    assert.ok(scaleTop(value) >= value, String(value));
    assert.match(String(scaleTop(value)), /^(1|15|2|3|4|5|6|8)0*$/);
  }
});

test('the drawing is well-formed, says what happened and lets no text break it', () => {
  const drawing = svg(stalled(), {
    title: 'three <servers> & one "address"',
    subtitle: 'sub',
    footer: '1,234 writes confirmed',
    faults: [
      { atMs: 1000, title: 'switchover', note: 'clients waited at most 2 ms' },
      { atMs: 3900, title: 'kill -9', note: 'clients waited at most 400 ms' },
    ],
  });
  assert.match(drawing, /^<svg xmlns=/);
  assert.ok(drawing.includes('three &lt;servers&gt; &amp; one'));
  assert.ok(drawing.includes('1,234 writes confirmed'));
  assert.ok(!/NaN|Infinity|undefined/.test(drawing));
  const open: string[] = [];
  for (const [, end = '', name = '', alone = ''] of drawing.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (end !== '') assert.equal(open.pop(), name);
    else if (alone === '') open.push(name);
  }
  assert.deepEqual(open, []);
});

test('a run of no length is drawn without failing', () => {
  assert.ok(!/NaN|Infinity/.test(svg(new Timeline(), { title: '', subtitle: '', footer: '', faults: [] })));
});
