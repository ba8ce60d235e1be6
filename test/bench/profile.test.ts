// What is read out of a profile of processor time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { topOfProfile } from '../../bench/support/top-of-profile.ts';

const frame = (functionName: string, url = '', lineNumber = 0) => ({ functionName, url, lineNumber });

test('functions stand in the order of their own time, and time that was idle is not part of it', () => {
  const profile = {
    nodes: [
      { id: 1, callFrame: frame('(root)'), children: [2, 3, 4] },
      { id: 2, callFrame: frame('(idle)') },
      { id: 3, callFrame: frame('read', 'file:///somewhere/src/wire/packet.ts', 9) },
      { id: 4, callFrame: frame('', 'file:///somewhere/src/wire/frame.ts', 0) },
    ],
    samples: [2, 3, 4, 3, 2],
    timeDeltas: [5, 7000, 1000, 2000, 3000],
  };
  const lines = topOfProfile(JSON.stringify(profile), 2).split('\n');
  assert.match(lines[0] ?? '', /^busy 0\.01 s, idle 0\.01 s$/);
  assert.match(lines[3] ?? '', /66\.7 .*\| +4 \| read src\/wire\/packet\.ts:10/);
  assert.match(lines[4] ?? '', /33\.3 .*\| +2 \| \(anonymous\) src\/wire\/frame\.ts:1/);
  assert.equal(topOfProfile(JSON.stringify(profile), 1).split('\n').length, 4);
});
