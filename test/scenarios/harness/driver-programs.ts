// Runs an ordinary program of a driver and collects what it observed: one line of JSON on its standard output for each
// observation. Where to connect to is in its environment, so that the same program runs directly and through Evenkeel.
import { execFile, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findLanguage, findTool, type Language, type ToolName } from '../../../src/sandbox/index.ts';

const HERE = join(import.meta.dirname, '../../drivers');

/** A program below test/drivers, e.g. `python/pymysql.py`. */
export interface Program {
  file: string;
  args?: string[];
  /** C programs that it starts, by the name it knows them under: their words are in DB_TOOLS. */
  tools?: Record<string, ToolName>;
  /** Observations that may differ, by the name they are said under, each with its reason. */
  differs?: Record<string, string>;
}

export interface Target {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
  other: { user: string; password: string };
}

export interface Said {
  code: number | null;
  lines: string[];
  stderr: string;
}

const LANGUAGES: Record<string, Language> = { py: 'python', php: 'php', pl: 'perl', java: 'java' };
const LONGEST_MS = 60_000;

/** The words and the environment that run a program. */
async function commandOf(program: Program): Promise<{ argv: string[]; env: Record<string, string> }> {
  const path = join(HERE, program.file);
  const args = program.args ?? [];
  const language = LANGUAGES[program.file.split('.').at(-1) ?? ''];
  if (language === undefined) return { argv: [process.execPath, path, ...args], env: await toolsOf(program) };
  const { argv0, env } = await findLanguage(language, (line) => console.log(line));
  if (language !== 'java') return { argv: [...argv0, path, ...args], env };
  const classes = await compiled(path, argv0, env);
  const main = program.file.replace(/^.*\/|\.java$/g, '');
  return { argv: [...argv0, '-cp', `${env['CLASSPATH']}:${classes}`, main, ...args], env };
}

async function toolsOf({ tools = {} }: Program): Promise<Record<string, string>> {
  const found: Record<string, unknown> = {};
  for (const [name, tool] of Object.entries(tools)) found[name] = await findTool(tool);
  return { DB_TOOLS: JSON.stringify(found) };
}

const classDirs = new Map<string, Promise<string>>();

/** Java wants to be compiled first; once a test process. */
function compiled(path: string, argv0: string[], env: Record<string, string>): Promise<string> {
  const compile = async (): Promise<string> => {
    const dir = await mkdtemp(join(tmpdir(), 'evenkeel-java-'));
    process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
    const [command = '', ...words] = argv0;
    const flags = ['org.eclipse.jdt.internal.compiler.batch.Main', '-11', '-nowarn', '-d', dir, path];
    await promisify(execFile)(command, [...words, ...flags], { env: { ...process.env, ...env } });
    return dir;
  };
  const dir = classDirs.get(path) ?? compile();
  classDirs.set(path, dir);
  return dir;
}

/** Runs the program to its end; kills it when it takes longer than a minute. */
export async function run(program: Program, target: Target): Promise<Said> {
  const { argv, env } = await commandOf(program);
  const [command = '', ...args] = argv;
  const child = spawn(command, args, {
    env: {
      ...process.env,
      ...env,
      DB_HOST: target.host,
      DB_PORT: String(target.port),
      DB_USER: target.user,
      DB_PASSWORD: target.password,
      DB_NAME: target.database,
      DB_OTHER_USER: target.other.user,
      DB_OTHER_PASSWORD: target.other.password,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LONGEST_MS,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr = (stderr + chunk).slice(-4000)));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return { code, lines: stdout.split('\n').filter((line) => line !== ''), stderr };
}

/** What differs between two runs, in words; empty where they are equal. */
export function differences(program: Program, expected: Said, got: Said): string[] {
  const found: string[] = [];
  const may = program.differs ?? {};
  for (let i = 0; i < Math.max(expected.lines.length, got.lines.length) && found.length < 6; i++) {
    const [left = '(nothing)', right = '(nothing)'] = [expected.lines[i], got.lines[i]].map(withoutHost);
    if (left === right) continue;
    const name = /^\{"at": ?"([^"]*)"/.exec(left)?.[1] ?? '';
    if (name in may && right.startsWith(left.slice(0, left.indexOf(name) + name.length))) continue;
    found.push(`line ${i + 1}\n  directly: ${excerpt(left, right)}\n  through:  ${excerpt(right, left)}`);
  }
  if (expected.code !== got.code) found.push(`directly it ended with ${expected.code}, through with ${got.code}`);
  return found;
}

/** Loopback is `localhost` or `127.0.0.1` in a refusal's text as the server resolves names or does not. */
function withoutHost(line: string | undefined): string | undefined {
  return line?.replaceAll(/@'?(localhost|127\.0\.0\.1)'?/g, '@here');
}

/** The name of the observation, and what surrounds the first difference. */
function excerpt(line: string, other: string): string {
  let at = 0;
  while (at < line.length && line[at] === other[at]) at++;
  return at < 300 ? line.slice(0, 600) : `${line.slice(0, 60)} … ${line.slice(at - 120, at + 300)}`;
}
