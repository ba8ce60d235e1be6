// What a client of `route: auto` says of one statement, in a comment at the very beginning or end of its text:
//   /* evenkeel: route=primary */        it stays on the primary
//   /* evenkeel: after=0-1-4711 */       it, and all that follows in its session, sees what these GTIDs name
// Elsewhere in a text nothing is looked for: a value that an application puts into it must not be taken for a hint.
// Query attributes say the same: evenkeel_route, evenkeel_after.

export interface Hints {
  primary: boolean;
  /** GTIDs as the servers write them. */
  after: string | null;
}

/** Of a query, by name. */
type Attributes = ReadonlyMap<string, string>;

const ATTRIBUTE = /^evenkeel_/;
const SLASH = 0x2f;
const MARK = /^\s*evenkeel:/i;
const ITEM = /^([a-z]+)=(\S+)$/i;
const MAX_HINT_CHARS = 16 * 1024;

/** Null where the text has none, and no attribute says anything; `wrong` says what cannot be understood. */
export function hintsOf(text: Buffer, attributes: Attributes | null): Hints | { wrong: string } | null {
  // The usual text neither begins nor ends with a slash, and is looked at no further.
  const [opening, closing] = [first(text), last(text)];
  const comments = opening === closing ? [opening] : [opening, closing]; // of a text that is one comment
  const told = attributes === null ? [] : [...attributes].filter(([name]) => ATTRIBUTE.test(name));
  const said = comments.filter((comment) => comment !== null);
  if (said.length === 0 && told.length === 0) return null;
  if (said.some((each) => each.length > MAX_HINT_CHARS) || told.some(([, value]) => value.length > MAX_HINT_CHARS)) {
    return { wrong: 'more than 16 KiB; write route=primary, or after= and GTIDs without blanks' };
  }
  const items = said.flatMap((comment) => comment.replace(MARK, '').split(/[\s;]+/));
  const all = [...told.map(([name, value]) => `${name.replace(ATTRIBUTE, '')}=${value}`), ...items];
  const hints: Hints = { primary: false, after: null };
  for (const item of all) {
    if (item === '') continue;
    const [, key, value = ''] = ITEM.exec(item) ?? [];
    if (key === 'route' && value === 'primary') hints.primary = true;
    else if (key === 'after') hints.after = value;
    else return { wrong: `"${item.slice(0, 80)}"; write route=primary, or after= and GTIDs without blanks` };
  }
  return hints;
}

function blank(byte: number | undefined): boolean {
  return byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);
}

function first(text: Buffer): string | null {
  let at = 0;
  while (blank(text[at])) at++;
  return text[at] === SLASH ? hint(text, at, text.indexOf('*/', at + 2)) : null;
}

function last(text: Buffer): string | null {
  let end = text.length;
  while (end > 0 && (blank(text[end - 1]) || text[end - 1] === 0x3b)) end--;
  if (text[end - 1] !== SLASH || text[end - 2] !== 0x2a) return null;
  return hint(text, text.lastIndexOf('/*', end - 3), end - 2);
}

function hint(text: Buffer, start: number, end: number): string | null {
  if (start < 0 || end < start + 2 || text[start + 1] !== 0x2a) return null;
  const inside = text.toString('latin1', start + 2, Math.min(end, start + 3 + MAX_HINT_CHARS));
  return MARK.test(inside) ? inside : null;
}
