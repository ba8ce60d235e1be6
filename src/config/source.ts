// A YAML text as plain data, with the place of every key and value kept, and `${VARIABLES}` put in. Variables are
// masked before YAML sees the text, so that they may stand unquoted between braces and so that no value from the
// environment is ever read as YAML. Nothing here repeats the text itself in an error: it may hold passwords.
import {
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type Scalar,
  visit,
  type YAMLError,
} from 'yaml';
import type { ConfigIssue } from './errors.ts';

export type Path = readonly (string | number)[];

export interface Source {
  data: unknown;
  issues: ConfigIssue[];
  /** Where the value at `path` stands, or the nearest thing above it that is there. */
  valueAt(path: Path): { line: number; column: number };
  /** Where the key `path` itself stands. */
  keyAt(path: Path): { line: number; column: number };
}

const MAX_FILE_CHARS = 1024 * 1024;
const MAX_VARIABLES = 4096;
// One placeholder is as long as what it masks, so that columns stay right: mark, index, padding, end.
const MARK = '\uE000';
const PAD = '\uE001';
const END = '\uE002';
const FIRST_INDEX = 0xe100;
const PLACEHOLDER = /\uE000([\uE100-\uF0FF])\uE001*\uE002/g;

type Variable = { literal: string } | { name: string; fallback: string | undefined };

/** `$${X}` stands for the text `${X}` itself; `${X:-text}` gives `text` where X is not set or empty. */
function maskVariables(text: string): { masked: string; variables: Variable[] } {
  const variables: Variable[] = [];
  const masked = text.replace(
    /(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}\n]*))?\}/g,
    (whole: string, escape: string, name: string, fallback: string | undefined) => {
      if (variables.length >= MAX_VARIABLES) return whole;
      variables.push(escape === '$' ? { literal: whole.slice(1) } : { name, fallback });
      return MARK + String.fromCharCode(FIRST_INDEX + variables.length - 1) + PAD.repeat(whole.length - 3) + END;
    },
  );
  return { masked, variables };
}

/** YAML's own messages repeat pieces of the text, so each kind of error has its sentence here. */
function syntaxText(error: YAMLError): string {
  switch (error.code) {
    case 'DUPLICATE_KEY':
      return 'the key stands here a second time; remove one of them';
    case 'TAB_AS_INDENT':
      return 'a tab indents the line; use spaces';
    case 'BAD_INDENT':
      return 'the indentation does not fit; line it up with the lines around it';
    case 'MISSING_CHAR':
      return 'a closing quote, bracket, comma or colon is missing; add it';
    case 'BAD_ALIAS':
      return 'a value that begins with `*` is taken for a YAML alias; put it in quotes';
    case 'BAD_SCALAR_START':
      return 'the value begins with a character that YAML keeps for itself; put it in quotes';
    case 'TAG_RESOLVE_FAILED':
      return 'a value that begins with `!` is taken for a YAML tag; put it in quotes';
    case 'MULTIPLE_DOCS':
      return 'a second document begins here; keep one';
    case 'MULTILINE_IMPLICIT_KEY':
    case 'BLOCK_AS_IMPLICIT_KEY':
      return 'the line is not `key: value`; check its colon and its indentation';
    default:
      return `is not valid YAML (${error.code.toLowerCase().replaceAll('_', ' ')}); check quotes, brackets and indentation`;
  }
}

export function readSource(file: string, text: string, env: Record<string, string | undefined>): Source {
  const issues: ConfigIssue[] = [];
  if (text.length > MAX_FILE_CHARS) {
    issues.push({ file, line: 0, column: 0, path: '', text: 'is larger than 1 MiB; this is not a configuration' });
    const top = () => ({ line: 1, column: 1 });
    return { data: {}, issues, valueAt: top, keyAt: top };
  }
  const { masked, variables } = maskVariables(text);
  const lines = new LineCounter();
  const document = parseDocument(masked, { lineCounter: lines, prettyErrors: false, version: '1.2', strict: true });
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  for (const error of [...document.errors, ...document.warnings]) {
    const issue = { file, ...place(error.pos[0]), path: '', text: syntaxText(error) };
    if (!issues.some((known) => known.line === issue.line && known.text === issue.text)) issues.push(issue);
  }

  const fill = (value: string, offset: number, path: string) =>
    value.replace(PLACEHOLDER, (whole: string, index: string) => {
      const variable = variables[index.charCodeAt(0) - FIRST_INDEX];
      if (variable === undefined) return whole;
      if ('literal' in variable) return variable.literal;
      const set = env[variable.name];
      if (set !== undefined && !(set === '' && variable.fallback !== undefined)) return set;
      if (variable.fallback !== undefined) return variable.fallback;
      const mend = `set it, or give a default: \${${variable.name}:-value}`;
      issues.push({
        file,
        ...place(offset),
        path,
        text: `the environment variable ${variable.name} is not set; ${mend}`,
      });
      return '';
    });
  visit(document, {
    Alias(_key, node) {
      if (node.resolve(document) !== undefined) return;
      const text = 'a value that begins with `*` is taken for a YAML alias; put it in quotes';
      issues.push({ file, ...place(node.range?.[0] ?? 0), path: '', text });
    },
    Scalar(_key, node, ancestors) {
      if (typeof node.value !== 'string') return;
      node.value = fill(node.value, node.range?.[0] ?? 0, formatPath(pathOf(node, ancestors)));
    },
  });

  const offsetOf = (node: unknown) =>
    (isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range?.[0] : 0) ?? 0;
  const step = (node: unknown, key: string | number): unknown => {
    const target = isAlias(node) ? node.resolve(document) : node;
    if (isSeq(target)) return target.items[Number(key)];
    if (isMap(target)) return target.get(key, true) ?? undefined;
    return undefined;
  };
  const walk = (path: Path): Node | null => {
    let node: unknown = document.contents;
    for (const key of path) {
      const next = step(node, key);
      if (next === undefined || next === null) break;
      node = next;
    }
    return (node ?? null) as Node | null;
  };
  const keyAt = (path: Path) => {
    const parent = walk(path.slice(0, -1));
    const name = path.at(-1);
    const map = isAlias(parent) ? parent.resolve(document) : parent;
    const pair = isMap(map)
      ? map.items.find((item) => String(isScalar(item.key) ? item.key.value : item.key) === name)
      : undefined;
    return place(offsetOf(pair?.key ?? parent));
  };

  let data: unknown = null;
  if (document.errors.length === 0) {
    try {
      data = document.toJS({ maxAliasCount: 100 });
    } catch {
      // Of an alias that stands for nothing was complained already.
      if (issues.length === 0) {
        issues.push({ file, line: 1, column: 1, path: '', text: 'its aliases unfold without end; write them out' });
      }
    }
  }
  return { data, issues, valueAt: (path) => place(offsetOf(walk(path))), keyAt };
}

/** The path of a scalar by what `visit` tells of what is around it. */
function pathOf(scalar: Scalar, ancestors: readonly unknown[]): Path {
  const path: (string | number)[] = [];
  for (const [depth, ancestor] of ancestors.entries()) {
    if (isPair(ancestor)) path.push(String(isScalar(ancestor.key) ? ancestor.key.value : ancestor.key));
    else if (isSeq(ancestor)) path.push(ancestor.items.indexOf(ancestors[depth + 1] ?? scalar));
  }
  return path;
}

/** `clusters.shop.seeds[0]` */
export function formatPath(path: Path): string {
  return path.map((key, index) => (typeof key === 'number' ? `[${key}]` : index === 0 ? key : `.${key}`)).join('');
}
