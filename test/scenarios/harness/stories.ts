// Stories on both flavors. Either they share one cluster, and each begins when the one before has left everything in
// order; or each has one of its own, for those that leave a node behind which only a backup could mend.
// What Evenkeel said is shown where one of them fails.
import { type TestContext, test } from 'node:test';
import { type Evenkeel, type EvenkeelOptions, withEvenkeel } from './evenkeel.ts';

export type Story = (evenkeel: Evenkeel, context: TestContext) => Promise<void>;

const usualTimeoutMs = 60_000;

export interface StoriesOptions extends Omit<EvenkeelOptions, 'flavor'> {
  /** A cluster for each story. */
  apart?: boolean;
  /** Both, where it is not given. */
  flavors?: readonly ('mysql' | 'mariadb')[];
  /** For each; a minute where nothing is said. */
  storyTimeoutMs?: number;
}

/** One test a flavor, with one subtest a story, in order. */
export function stories(
  title: string,
  { apart = false, flavors = ['mysql', 'mariadb'], storyTimeoutMs = usualTimeoutMs, ...options }: StoriesOptions,
  told: Record<string, Story>,
): void {
  for (const flavor of flavors) {
    const names = Object.keys(told);
    test(`${flavor}: ${title}`, { timeout: 60_000 + names.length * storyTimeoutMs }, async (context) => {
      const within = <T>(work: (evenkeel: Evenkeel) => Promise<T>) => withEvenkeel({ ...options, flavor }, work);
      const tell = async (all: Record<string, Story>, evenkeel: Evenkeel) => {
        for (const [name, story] of Object.entries(all)) {
          await context.test(name, { timeout: storyTimeoutMs }, (own) => one(evenkeel, own, story));
        }
      };
      if (!apart) return await within((evenkeel) => tell(told, evenkeel));
      for (const [name, story] of Object.entries(told)) await within((evenkeel) => tell({ [name]: story }, evenkeel));
    });
  }
}

async function one(evenkeel: Evenkeel, context: TestContext, story: Story): Promise<void> {
  await explained(evenkeel, async () => {
    await evenkeel.healthy();
    await story(evenkeel, context);
  });
}

/** Runs `work`; where it fails, what Evenkeel said meanwhile is shown, and its last words go with the error. */
export async function explained(evenkeel: Evenkeel, work: () => Promise<void>): Promise<void> {
  const from = evenkeel.output.length;
  try {
    await work();
  } catch (error) {
    process.stderr.write(`--- evenkeel said:\n${evenkeel.output.slice(from).slice(-8000)}\n---\n`);
    if (error instanceof Error) error.cause ??= await lastWords(evenkeel);
    throw error;
  }
}

/** What a report of the failure, which ends far from the output, must say with it. */
async function lastWords(evenkeel: Evenkeel): Promise<string> {
  const cluster = (await evenkeel.status().catch(() => null))?.clusters[0];
  const history = await evenkeel.history().catch(() => []);
  const records = history.slice(0, 4).map(({ kind, outcome, reason, startedAt }) => {
    return `${startedAt} ${kind} ${outcome}: ${reason.slice(0, 600)}`;
  });
  const problems = (cluster?.problems ?? []).map(({ text }) => text);
  return [`${cluster?.state}, primary ${cluster?.primary}`, ...problems, ...records].join('\n');
}
