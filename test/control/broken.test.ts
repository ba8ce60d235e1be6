// The word that breaks Evenkeel on purpose: nothing else is taken for it, and an operator cannot overlook it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BREAKS_PROMISES, broken, brokenModeOf } from '../../src/messages/index.ts';

test('nothing is broken unless it is asked for by its full name', () => {
  assert.equal(broken, null);
  assert.equal(brokenModeOf(undefined), null);
  assert.equal(brokenModeOf('resend-on-loss'), 'resend-on-loss');
});

test('any other word is refused, and the error names the variable', () => {
  for (const word of ['', '1', 'true', 'resend', 'RESEND-ON-LOSS']) {
    assert.throws(() => brokenModeOf(word), new RegExp(`${BREAKS_PROMISES}=${word} is for tests`));
  }
});
