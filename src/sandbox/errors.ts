// The one error of the sandbox. Its reason is enumerated, so that the command line can tell wrong usage
// (exit status 2) from a failure (exit status 1).

/** `usage`: the caller asked for something that cannot be; the others are failures of this machine. */
export type SandboxReason = 'usage' | 'no-server' | 'start-failed' | 'stop-failed' | 'not-a-sandbox';

export class SandboxError extends Error {
  readonly reason: SandboxReason;

  constructor(reason: SandboxReason, message: string) {
    super(message);
    this.name = 'SandboxError';
    this.reason = reason;
  }
}
