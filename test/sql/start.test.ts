// Where a text begins, however long what stands in front of that is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginningOf } from '../../src/sql/index.ts';

const begins = (text: string): string => beginningOf(Buffer.from(text), 4);

test('behind blanks and comments', () => {
  for (const text of [
    'LOAD x',
    ' \n\tLOAD',
    '/* a */LOAD',
    '/**//*/ * */ -- x\n# y\nLOAD',
    '--\nLOAD',
    '/*a*/--\tb\n LOAD x',
  ]) {
    assert.equal(begins(text), 'LOAD', text);
  }
  assert.equal(begins('--LOAD'), '--LO');
  assert.equal(begins('/*! LOAD */'), '/*! ');
  assert.equal(begins('/*M! LOAD */'), '/*M!');
  for (const text of ['', '  ', '/* open', '-- LOAD', '# LOAD', '/* a */ ']) assert.equal(begins(text), '', text);
});

test('in a time that grows with the text', () => {
  for (const front of [`/*${'* '.repeat(4e6)}*/`, ' '.repeat(8e6), '/*a*/'.repeat(1e6), '-- a\n'.repeat(1e6)]) {
    assert.equal(begins(`${front}LOAD`), 'LOAD');
  }
});
