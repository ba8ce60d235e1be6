// Which of a server's errors speak about the server rather than about the statement.
import type { ErrPacket } from '../wire/index.ts';

/** 1053 ER_SERVER_SHUTDOWN, 1077 ER_NORMAL_SHUTDOWN, 1079 ER_SHUTDOWN_COMPLETE, 3168 ER_SERVER_ISNT_AVAILABLE. */
const SHUTDOWN = new Set([1053, 1077, 1079, 3168]);

/** The server is going away; the statement was not completed. MariaDB also says 1927 to those it disconnects. */
export function isShutdown(err: ErrPacket): boolean {
  return SHUTDOWN.has(err.errno) || err.errno === 1927;
}

/**
 * The node does not take writes: 1836 ER_READ_ONLY_MODE, and 1290 where the option named is a read-only one (the same
 * number stands for --secure-file-priv and others). A member of a Galera cluster that was cut off from it says 1047, to reads
 * as well. The statement was not executed.
 */
export function isReadOnlyNode(err: ErrPacket): boolean {
  if (err.errno === 1836) return true;
  if (err.errno === 1047) return err.message.startsWith('WSREP has not yet prepared node');
  return err.errno === 1290 && /--(super-)?read[-_]only/.test(err.message);
}

/** ER_ERROR_DURING_COMMIT of a Galera member that was cut off from its cluster. It is the member's word, not its cluster's. */
export function isCutOff(err: ErrPacket): boolean {
  return err.errno === 1180 && err.message.includes('Not connected to Primary Component');
}

/** ER_MUST_CHANGE_PASSWORD: an account whose password has expired may do nothing else. It says nothing of the node. */
export function mustChangePassword(err: ErrPacket | null): boolean {
  return err?.errno === 1820;
}
