// Hints in comments: where they are looked for, what they say, and what is no hint though it looks like one.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hintsOf } from '../../src/gateway/hints.ts';

const of = (text: string, attributes: Record<string, string> | null = null): ReturnType<typeof hintsOf> =>
  hintsOf(Buffer.from(text), attributes === null ? null : new Map(Object.entries(attributes)));
const PRIMARY = { primary: true, after: null };

describe('a hint', () => {
  test('stands in a comment at the very beginning or end', () => {
    for (const text of [
      '/* evenkeel: route=primary */ SELECT 1',
      ' \n/*Evenkeel:route=primary*/SELECT 1',
      'SELECT 1 /* evenkeel: route=primary */',
      'SELECT 1 /* other */ /* evenkeel: route=primary */ ;\n',
    ]) {
      assert.deepEqual(of(text), PRIMARY, text);
    }
  });

  test('may be several', () => {
    assert.deepEqual(of('/* evenkeel: after=0-1-5,2-1-7 route=primary */ SELECT 1'), {
      primary: true,
      after: '0-1-5,2-1-7',
    });
    assert.deepEqual(of('SELECT 1 /* evenkeel: after=3e11fa47:1-5:7 */'), { primary: false, after: '3e11fa47:1-5:7' });
  });

  test('may be a query attribute', () => {
    assert.deepEqual(of('SELECT 1', { evenkeel_route: 'primary', traceparent: '00-1-2' }), PRIMARY);
    assert.deepEqual(of('/* evenkeel: route=primary */ SELECT 1', { evenkeel_after: '0-1-5' }), {
      primary: true,
      after: '0-1-5',
    });
    assert.equal(of('SELECT 1', { route: 'primary' }), null);
    for (const wrong of [{ evenkeel_route: 'replica' }, { evenkeel_after: '0-1-5 x' }, { evenkeel_other: '1' }]) {
      const found = of('SELECT 1', wrong);
      assert.ok(found !== null && 'wrong' in found, JSON.stringify(wrong));
    }
  });

  test('is nothing where a value could have brought it in, nor anything that is no comment of ours', () => {
    for (const text of [
      '',
      '/',
      '/*',
      '*/',
      '/*/',
      'SELECT 1',
      "SELECT '/* evenkeel: route=primary */'",
      "SELECT '/* evenkeel: route=primary */', 1",
      "SELECT 1 /* evenkeel: route=primary */ + '2'",
      '/* traceparent=00-1-2 */ SELECT 1',
      '/* not evenkeel: route=primary */ SELECT 1',
      '/*! evenkeel: route=primary */',
      'SELECT 1 -- evenkeel: route=primary',
      `/* ${'x'.repeat(20_000)} evenkeel: route=primary */ SELECT 1`,
    ]) {
      assert.equal(of(text), null, text);
    }
  });

  test('that cannot be understood is said to be wrong, and how to mend it', () => {
    for (const text of [
      '/* evenkeel: route=replica */ SELECT 1',
      'SELECT 1 /* evenkeel: afer=1 */',
      '/* evenkeel: after= */',
    ]) {
      const found = of(text);
      assert.ok(found !== null && 'wrong' in found && found.wrong.includes('write route=primary'), text);
    }
  });
});
