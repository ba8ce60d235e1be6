// MariaDB reports what SET x, SET SESSION x and SET @@session.x change, but not what SET @@x does, which means the same
// (measured: 10.11; MySQL reports all of them). So a variable that is set without a scope is given its own.
import { T } from './kinds.ts';
import { readTokens, type Token } from './tokens.ts';
import type { ClassifyOptions } from './types.ts';

/** Without a scope these count for the next transaction, with it for the session. */
const ONE_SHOT: ReadonlySet<string> = new Set([
  'transaction_isolation',
  'tx_isolation',
  'transaction_read_only',
  'tx_read_only',
]);
const BARE = /@@(?!(session|local|global)\s*\.)[`\w]+\s*:?=/i;
const SCOPE = Buffer.from('@@session.');

/**
 * The text with `@@session.x` for every `@@x` that SET assigns to. Null where there is none; `unsure` where there may be one in
 * a place that cannot be told for sure (an executable comment, a block).
 */
export function scopeSystemVariables(text: Buffer, options: ClassifyOptions): Buffer | null | 'unsure' {
  if (!text.includes('@@') || !BARE.test(text.toString('latin1'))) return null;
  const tokens = readTokens(text, options);
  if (tokens === null) return 'unsure';
  const parts: Buffer[] = [];
  let copied = 0;
  for (const { start } of targets(tokens)) {
    parts.push(text.subarray(copied, start), SCOPE);
    copied = start + 2;
  }
  if (parts.length > 0) return Buffer.concat([...parts, text.subarray(copied)]);
  // Behind BEGIN a statement may begin anywhere.
  return tokens.some(({ keyword }) => keyword === 'begin') ? 'unsure' : null;
}

/** The `@@x` that are assigned to. */
function* targets(tokens: readonly Token[]): Generator<Token> {
  let depth = 0;
  let setting = false;
  /** Behind what begins a statement or an assignment. */
  let begins = true;
  for (const [at, token] of tokens.entries()) {
    if (token.kind === T.open) depth++;
    else if (token.kind === T.close) depth--;
    const next = tokens[at + 1];
    if (token.kind === T.semicolon) {
      begins = true;
      setting = false;
      depth = 0;
    } else if (begins && !setting) {
      setting = token.keyword === 'set' && next?.keyword !== 'statement';
      begins = setting;
    } else if (setting && token.kind === T.comma && depth === 0) begins = true;
    else {
      if (begins && token.kind === T.systemVariable && assigns(next) && !ONE_SHOT.has(nameOf(token))) yield token;
      begins = false;
    }
  }
}

function assigns(next: Token | undefined): boolean {
  return next?.kind === T.equals || next?.kind === T.assign;
}

function nameOf({ text }: Token): string {
  return text.replaceAll(/[@`]/g, '').toLowerCase();
}
