// `npm run demo`: by the time this runs, with-runtime has set everything up; the demo itself is a verb like any other.
import { spawn } from 'node:child_process';
import { join } from 'node:path';

const main = join(import.meta.dirname, '../src/main.ts');
const flags = ['--disable-warning=ExperimentalWarning', main, 'demo', ...process.argv.slice(2)];
const child = spawn(process.execPath, flags, { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  // A terminal sends SIGINT to both; a second one would cut the demo's own clean-up short.
  process.on(signal, () => {
    if (signal !== 'SIGINT') child.kill(signal);
  });
}
child.on('close', (code) => {
  process.exitCode = code ?? 1;
});
