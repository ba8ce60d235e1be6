// How a verb ends when it does not end well: exit status 1 for what failed, 2 for wrong usage (design.md section 3).
// The message is for a human at a terminal, without a stack.

/** Exit status 1. */
export class CommandFailure extends Error {
  override readonly name: string = 'CommandFailure';
}

/** Exit status 2. */
export class UsageError extends Error {
  override readonly name: string = 'UsageError';
}
