// How a session's texts are read: quotes and backslashes mean one thing or the other by its sql_mode, and a byte that looks
// like one may be half of a character of its character set. Where the session has chosen neither it is as its login left it.
import type { Flavor } from '../messages/index.ts';
import type { ClassifyOptions } from '../sql/index.ts';
import type { LinkState } from './link-state.ts';

/** What the session is of it. */
export interface Reader {
  readonly state: LinkState;
  /** As the handshake set it. */
  readonly collation: number;
  /** What was global when it began; null: not known for sure. */
  sqlMode: string | null;
  /** The last answer. */
  read: Read | null;
}

export interface Read {
  state: LinkState;
  sqlMode: string | null;
  options: ClassifyOptions;
  /** Texts in which it matters how they are read. */
  unsure: ClassifyOptions | null;
}

/** Of big5, sjis, gbk, cp932 and gb18030: the collations' ids in both families, MariaDB's without padding 1024 further. */
const UNSAFE_COLLATIONS = new Set([1, 84, 13, 88, 28, 87, 95, 96, 248, 249, 250]);
const UNSAFE_CHARACTER_SETS = /^(gbk|sjis|cp932|big5|gb18030)$/;
const NOPAD = 1024;

const DOUBLE_QUOTE = 0x22;
const BACKSLASH = 0x5c;

const known = new Map<string, ClassifyOptions>();

/** One object for each way to read. */
function way(flavor: Flavor, mode: string, multiByteUnsafe: boolean): ClassifyOptions {
  // ANSI and its kin stand for their parts in what servers report.
  const ansiQuotes = mode.includes('ANSI_QUOTES');
  const noBackslashEscapes = mode.includes('NO_BACKSLASH_ESCAPES');
  const key = `${flavor} ${ansiQuotes} ${noBackslashEscapes} ${multiByteUnsafe}`;
  let options = known.get(key);
  if (options === undefined) {
    options = Object.freeze({ flavor, sqlMode: { ansiQuotes, noBackslashEscapes }, multiByteUnsafe });
    known.set(key, options);
  }
  return options;
}

/** How `text` is to be read: the same object for all that are read alike. */
export function optionsFor(text: Buffer, session: Reader, flavor: Flavor): ClassifyOptions {
  let { read } = session;
  if (read?.state !== session.state || read.sqlMode !== session.sqlMode || read.options.flavor !== flavor) {
    const { collation, sqlMode, state } = session;
    const mode = state.variables.get('sql_mode') ?? sqlMode;
    const charset = state.variables.get('character_set_client');
    const unsafe =
      charset === undefined
        ? UNSAFE_COLLATIONS.has(collation >= NOPAD ? collation - NOPAD : collation)
        : UNSAFE_CHARACTER_SETS.test(charset);
    const unsure = mode === null ? way(flavor, '', true) : null;
    read = { state, sqlMode, options: way(flavor, mode ?? '', unsafe), unsure };
    session.read = read;
  }
  if (read.unsure === null) return read.options;
  return text.includes(DOUBLE_QUOTE) || text.includes(BACKSLASH) ? read.unsure : read.options;
}
