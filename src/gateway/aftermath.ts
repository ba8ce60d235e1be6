// What a session's last statement left behind on its server connection, and may be asked for: warnings, or its error, and
// how many rows SQL_CALC_FOUND_ROWS found. Where others need the connection it is read first and kept with the session.
import { type QuietCommand, runQuietly } from './quiet.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SessionState } from './session.ts';

export interface Aftermath {
  /** The answer of SHOW WARNINGS as the client is to get it; null where it was too long to keep, or was lost. */
  readonly warnings: Buffer | null;
}

/** max_error_count bounds how many there are: 64 by default, 1024 on MySQL. */
const MAX_WARNINGS_BYTES = 64 * 1024;

/** Calls back once; null where the connection was lost. `capabilities`: the client's. */
export function readAftermath(
  link: ServerConnection,
  session: SessionState,
  capabilities: number,
  callback: (aftermath: Aftermath | null) => void,
): void {
  let warnings: Buffer | null = null;
  const take = (answer: Buffer | null): void => {
    warnings = answer;
  };
  const whole = { capabilities, status: session.status, maxBytes: MAX_WARNINGS_BYTES, take };
  // In this order: asking for warnings changes none of this, while asking for counts may clear the warnings.
  const commands: QuietCommand[] = [{ packet: link.query('SHOW WARNINGS'), what: 'warnings', whole, failed: () => {} }];
  if (session.calcFoundRows) {
    const row: QuietCommand['row'] = (answer) => {
      session.foundRows = Number(answer?.values[0] ?? -1);
    };
    commands.push({ packet: link.query('SELECT FOUND_ROWS()'), what: 'FOUND_ROWS()', row, failed: () => {} });
  }
  link.lastSession = null; // ROW_COUNT() and the like are of what was read
  runQuietly(link, commands, (result) => callback(result.kind === 'lost' ? null : { warnings }));
}
