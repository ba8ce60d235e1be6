// Configuration errors: all that a file has wrong is told at once, each line in the form that editors and
// terminals can jump to. No message ever holds a value that may be a secret.

/** One thing that is wrong. */
export interface ConfigIssue {
  /** Absent where the configuration came as URLs. */
  file?: string;
  /** From 1; 0 where the error has no place in the file. */
  line: number;
  column: number;
  /** As a user writes it: `clusters.shop.seeds[0]`; empty for the whole file. */
  path: string;
  /** `what is wrong; how to mend it` */
  text: string;
}

/** `file:line:column: path: what is wrong; how to mend it` */
export function formatIssue(issue: ConfigIssue): string {
  let place = issue.file === undefined ? '' : `${issue.file}: `;
  if (issue.file !== undefined && issue.line > 0) place = `${issue.file}:${issue.line}:${issue.column}: `;
  const line = place + (issue.path === '' ? '' : `${issue.path}: `) + issue.text;
  // Keys are the file's, and may hold anything: an issue stays one line, and nothing steers the terminal.
  return line.replace(/\p{Cc}/gu, ' ');
}

/** Nothing may start: exit status 2. The message is all issues, one a line, in the order of the file. */
export class ConfigError extends Error {
  readonly issues: readonly ConfigIssue[];

  constructor(issues: ConfigIssue[]) {
    const ordered = [...issues].sort((a, b) => a.line - b.line || a.column - b.column);
    super(ordered.map(formatIssue).join('\n'));
    this.name = 'ConfigError';
    this.issues = ordered;
  }
}
