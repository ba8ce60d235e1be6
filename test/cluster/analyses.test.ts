// The table of analyses and its document are one thing: EVENKEEL_WRITE=1 writes the document anew.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ANALYSES, type Analysis } from '../../src/cluster/analyses.ts';

const DOCUMENT = join(import.meta.dirname, '../../docs/analyses.md');
const BEGIN =
  '<!-- The tables are made from src/cluster/analyses.ts: EVENKEEL_WRITE=1 node --test test/cluster/analyses.test.ts -->';

const HEADINGS: Record<Analysis['about'], string> = {
  cluster: 'The cluster as a whole',
  primary: 'The primary',
  replica: 'Other nodes',
  recovery: 'Recoveries themselves',
};

function tables(): string {
  const analyses: readonly Analysis[] = ANALYSES;
  return Object.entries(HEADINGS)
    .flatMap(([about, heading]) => [
      `## ${heading}`,
      '',
      '| name | what was observed | what makes it sure | action | what is done |',
      '|---|---|---|---|---|',
      ...analyses
        .filter((one) => one.about === about)
        .map((one) => `| \`${one.name}\` | ${one.condition} | ${one.confidence} | ${one.action} | ${one.does} |`),
      '',
    ])
    .join('\n');
}

test('docs/analyses.md is the table of analyses', () => {
  const text = readFileSync(DOCUMENT, 'utf8');
  const wanted = `${text.slice(0, text.indexOf(BEGIN))}${BEGIN}\n\n${tables()}`;
  if (process.env['EVENKEEL_WRITE'] === '1') writeFileSync(DOCUMENT, wanted);
  else assert.equal(text, wanted, 'docs/analyses.md differs; see the comment in it for how it is made');
});

test('every analysis has a name of its own and says what is observed, what makes it sure and what is done', () => {
  assert.equal(new Set(ANALYSES.map(({ name }) => name)).size, ANALYSES.length);
  for (const { name, condition, confidence, does } of ANALYSES) {
    assert.match(name, /^[a-z]+(-[a-z]+)+$/);
    for (const text of [condition, confidence, does]) assert.ok(text.length > 5 && !text.includes('|'), name);
  }
});
