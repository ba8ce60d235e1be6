// The door of the demo: a sandbox of three real servers, Evenkeel in front, a workload that checks itself, a switchover
// and a killed primary, told live, with a verdict. It ends by itself in about 30 s and leaves nothing running.
import { writeFile } from 'node:fs/promises';
import type { Flavor } from '../messages/index.ts';
import { type DemoResult, drawing, pictures, resultOf, verdictLines } from './ending.ts';
import { type Sink, screenFor } from './screen.ts';
import { withStage } from './stage.ts';
import { playStory } from './story.ts';

export { type DrillResult, type LoopOptions, runDrill, runDrillOn } from './drill.ts';
export type { DemoResult } from './ending.ts';
export type { RealCluster } from './ground.ts';

export interface DemoOptions {
  flavor: Flavor;
  connections: number;
  /** Where the picture of the whole run is written, if anywhere. */
  svg: string | null;
  /** The script that this command runs as: Evenkeel is started with it. */
  main: string;
  sink: Sink;
  env: Record<string, string | undefined>;
}

const NAMES: Record<Flavor, { title: string; program: string }> = {
  mariadb: { title: 'MariaDB', program: 'mariadbd' },
  mysql: { title: 'MySQL', program: 'mysqld' },
};

/** Resolves with what came out, pass or fail. Rejects where the servers or Evenkeel do not start. */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { flavor, connections, main } = options;
  const { title, program } = NAMES[flavor];
  const screen = screenFor(options.sink, options.env);
  const progress = (line: string): void => screen.line(line);
  return withStage({ flavor, main, progress }, async (stage) => {
    const end = await playStory(stage, screen, { connections, title, program });
    const result = resultOf(end, connections, flavor);
    for (const line of pictures(end, screen.columns, screen.paint)) screen.line(line);
    for (const line of verdictLines(result, screen.paint)) screen.line(line);
    if (options.svg !== null) {
      await writeFile(options.svg, drawing(end, result, title));
      screen.line(`  the picture is in ${options.svg}`);
    }
    return result;
  });
}
