// Playing sequences: past the proxy first, which gives the answers that are expected; then through it, each answer held
// against the one expected. The first that differs ends the playing with an error that says how to see it again.
import { setTimeout as delay } from 'node:timers/promises';
import fc, { seed } from '../../seed.ts';
import { withoutVariables } from './answers.ts';
import { SequenceClient } from './client.ts';
import type { Stage } from './stage.ts';
import type { Action, Connect, Sequence } from './types.ts';

/** Lets others act between two actions of a client. */
export type Between = () => Promise<void>;

/** What one playing gave: answers to the actions, and the tables at the end. */
interface Playing {
  answers: string[][];
  contents: string;
}

export class Difference extends Error {
  override name = 'Difference';
}

/** Plays one sequence; stops where `judge` throws. */
async function play(
  stage: Stage,
  client: number,
  sequence: Sequence,
  connect: Connect,
  judge: (at: number, answer: string[]) => void = () => {},
  between: Between = async () => {},
): Promise<string[][]> {
  const { capabilities, database } = sequence;
  const names = stage.words(client, 0);
  const wire = await connect({
    capabilities,
    database: database === null ? null : names[database === '{b}' ? 'b' : 'a'],
  });
  const answers: string[][] = [];
  try {
    const player = new SequenceClient(wire, stage.words(client, wire.greeting?.connectionId ?? 0), stage.accounts);
    for (const [at, action] of sequence.actions.entries()) {
      const answer = await player.perform(action).catch((error: Error) => [`no answer: ${error.message}`]);
      judge(at, answer);
      answers.push(answer);
      if (isNone(answer)) break;
      await between();
    }
  } finally {
    wire.close();
  }
  return answers;
}

function isNone(answer: readonly string[]): boolean {
  return answer[0]?.startsWith('no answer') ?? false;
}

/** What the server says to each of the sequences, played one after the other. */
async function expected(stage: Stage, sequences: readonly Sequence[], direct: Connect): Promise<Playing[]> {
  await stage.reset(sequences.length);
  const playings: Playing[] = [];
  for (const [client, sequence] of sequences.entries()) {
    const answers = await play(stage, client, sequence, direct);
    playings.push({ answers, contents: await stage.contents(client) });
  }
  return playings;
}

/** Plays all sequences at the same time through the proxy. Throws a Difference. */
export async function compare(
  stage: Stage,
  sequences: readonly Sequence[],
  direct: Connect,
  proxied: Connect,
  between?: Between,
): Promise<void> {
  const wanted = await expected(stage, sequences, direct);
  // Servers have commands that they do not answer, such as odd long data; there is nothing to compare then.
  if (wanted.some(({ answers }) => answers.some(isNone))) return;
  await stage.reset(sequences.length);
  const played = sequences.map((sequence, client) =>
    play(
      stage,
      client,
      sequence,
      proxied,
      (at, answer) => {
        const want = wanted[client]?.answers[at] ?? [];
        if (isNotKnown(answer)) return;
        for (const one of [want, answer]) forgetWhatMayDiffer(sequence.actions[at], one);
        if (want.join('\n') !== answer.join('\n')) throw new Difference(told(sequence, client, at, want, answer));
      },
      between,
    ),
  );
  // All of them to their end: what goes on would disturb the next playing.
  for (const outcome of await Promise.allSettled(played)) if (outcome.status === 'rejected') throw outcome.reason;
  for (const [client, sequence] of sequences.entries()) {
    const [want, got] = [wanted[client]?.contents ?? '', await stage.contents(client)];
    if (want !== got) throw new Difference(told(sequence, client, sequence.actions.length - 1, [want], [got]));
  }
}

/**
 * Known not to be the same, and harmless: PING is answered without a server, which would tell the warnings of the statement
 * before, as it does with COM_SET_OPTION and COM_INIT_DB; and FOUND_ROWS(), of which MySQL warns each time, may have been replaced by its number.
 */
function tellsNoWarnings(action: Action | undefined): boolean {
  return (
    action?.do === 'ping' ||
    action?.do === 'multi-statements' ||
    action?.do === 'init-db' ||
    (action?.do === 'query' && /FOUND_ROWS\(\)/.test(action.sql))
  );
}

/**
 * What only a connection knew that the session has not any more (FOUND_ROWS() behind a write, warnings of a prepared read) is
 * an error elsewhere, never a guess.
 */
function isNotKnown(answer: readonly string[]): boolean {
  return answer.length === 1 && /ERR 9106 HY000 .*(FOUND_ROWS\(\)|the warnings of the statement)/.test(answer[0] ?? '');
}

function forgetWhatMayDiffer(action: Action | undefined, lines: string[]): void {
  const noWarnings = tellsNoWarnings(action);
  // A variable that was cleared has another type than one that was never set, in MySQL's prepared statements only.
  const executes = action?.do === 'execute' || (action?.do === 'query' && action.sql.startsWith('EXECUTE'));
  for (const [at, line] of lines.entries()) {
    if (noWarnings) lines[at] = line.replace(/ warnings=\d+/, '');
    if (executes) lines[at] = withoutVariables(line);
  }
}

function told(sequence: Sequence, client: number, at: number, want: string[], got: string[]): string {
  const { capabilities, database, actions } = sequence;
  return [
    `client ${client} (database ${database}, capabilities 0x${capabilities.toString(16)}) was answered otherwise:`,
    ...actions.slice(0, at + 1).map((action, i) => `  ${i === at ? '>' : ' '} ${shown(action)}`),
    'expected',
    ...want.map((line) => `    ${line}`),
    'got',
    ...got.map((line) => `    ${line}`),
  ].join('\n');
}

function shown(action: Action): string {
  if (action.do === 'query') return action.sql === '' ? '(an empty statement)' : action.sql;
  const { do: name, ...rest } = action;
  return `${name} ${JSON.stringify(rest, (_, value: unknown) => (typeof value === 'string' ? value.slice(0, 80) : value))}`;
}

export interface PropertyOptions {
  runs: number;
  /** After this time no further run is begun, and what fails is not shortened any more. */
  limitMs: number;
}

/** How many runs: as asked for by hand, or as many as a test run has time for. */
export function runsOr(usual: number): number {
  return Number(process.env['EVENKEEL_RUNS'] ?? usual);
}

/**
 * Holds `body` for random values; throws with the shortest that fails, its seed and its path. With EVENKEEL_RUNS
 * there is no limit of time. FC_SEED and FC_PATH repeat a failure.
 */
export async function holds<T>(
  arbitrary: fc.Arbitrary<T>,
  { runs, limitMs }: PropertyOptions,
  body: (value: T) => Promise<void>,
): Promise<void> {
  const path = process.env['FC_PATH'];
  let current: Promise<void> = Promise.resolve();
  const property = fc.asyncProperty(arbitrary, async (value) => {
    current = body(value);
    await current;
  });
  const bound = process.env['EVENKEEL_RUNS'] === undefined ? { interruptAfterTimeLimit: limitMs } : {};
  try {
    const details = await fc.check(property, {
      seed,
      numRuns: runs,
      ...bound,
      ...(path === undefined ? {} : { path }),
    });
    process.stdout.write(`FC_SEED=${seed}: ${details.numRuns} runs\n`);
    if (!details.failed) return;
    const again = `FC_SEED=${seed} FC_PATH=${details.counterexamplePath}`;
    const why = details.errorInstance;
    throw new Error(
      `${again} (${details.numShrinks} times shortened)\n${why instanceof Error ? why.message : String(why)}`,
    );
  } finally {
    // A run that the time limit cut off goes on behind it.
    await current.catch(() => {});
    await delay(0);
  }
}
