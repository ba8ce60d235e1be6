// How many rows an INSERT brings along. A second look, for a statement that has failed.
import { T } from './kinds.ts';
import { Walk } from './tokens.ts';
import type { ClassifyOptions } from './types.ts';

/** Whether a text inserts exactly one row that it spells out itself: what fails of it has left nothing behind, whatever the engine. */
export function insertsOneRow(text: Uint8Array | string, options: ClassifyOptions): boolean {
  const walk = Walk.over(text, options);
  if (walk?.words('insert') !== true) return false;
  walk.oneOf('low_priority', 'high_priority');
  walk.words('into');
  if (walk.identifier() === null) return false;
  if (walk.take(T.dot) !== null && walk.identifier() === null) return false;
  if (walk.current?.kind === T.open && !group(walk)) return false;
  if (walk.oneOf('values', 'value') === null) return false;
  return group(walk) && walk.ended;
}

/** Steps over what stands in parentheses, and over them. */
function group(walk: Walk): boolean {
  let depth = 0;
  do {
    const { current } = walk;
    if (current === undefined) return false;
    if (current.kind === T.open) depth += 1;
    else if (current.kind === T.close) depth -= 1;
    walk.take(current.kind);
  } while (depth > 0);
  return true;
}
