// A control process in a process of its own, for tests that kill it: the configuration comes as JSON in the first
// argument, the workers' pids go to standard output as one line of JSON.
import type { Config } from '../../src/config/types.ts';
import { startTestControl } from './harness.ts';

const { control } = await startTestControl(JSON.parse(process.argv[2] ?? '') as Config);
process.stdout.write(`${JSON.stringify(control.workerPids())}\n`);
