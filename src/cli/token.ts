// The token that changes need: the configured one, or one made at the first start and kept. It lies in the state
// directory, readable by its owner only, where the other verbs find it.
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CommandFailure } from './failure.ts';

function kept(file: string): string | null {
  try {
    const token = readFileSync(file, 'utf8').trim();
    return /^[\w-]{32,}$/.test(token) ? token : null;
  } catch {
    return null;
  }
}

/** Returns the token, which is in `stateDir/token` then. Throws CommandFailure where that cannot be written. */
export function provideToken(stateDir: string, configured: string | null): string {
  const file = join(stateDir, 'token');
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    const token = configured ?? kept(file) ?? randomBytes(32).toString('base64url');
    // A file of its own first: an old one's looser mode must not outlive the writing.
    const fresh = `${file}.${process.pid}`;
    writeFileSync(fresh, `${token}\n`, { mode: 0o600 });
    chmodSync(fresh, 0o600);
    renameSync(fresh, file);
    return token;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'failed';
    throw new CommandFailure(
      `the state directory ${stateDir} cannot be written (${code}); set stateDir, or mend its rights`,
    );
  }
}
