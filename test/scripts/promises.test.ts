// The table of promises in docs/failures.md names the test that shows each of them: the file is there, and so is the test.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

const DOCS = join(import.meta.dirname, '../../docs');

test('every promise names tests that there are', async () => {
  const text = await readFile(join(DOCS, 'failures.md'), 'utf8');
  const cells = [...text.matchAll(/\]\((\.\.\/test\/[\w/.-]+\.test\.ts)\):((?:,? "[^"|]+")+)/g)];
  assert.ok(cells.length >= 10, `${cells.length} links were found`);
  for (const [, file = '', names = ''] of cells) {
    const source = await readFile(join(DOCS, file), 'utf8');
    for (const [, name = ''] of names.matchAll(/"([^"]+)"/g)) {
      assert.ok(source.includes(`'${name}'`), `${file} has no test '${name}'`);
    }
  }
});
