// The door of sql/: statement classification. Everything here is a pure function of a text and the session's dialect.
import { classify } from './classify.ts';
import type { ClassifyOptions } from './types.ts';

export { classify, classifyFirst, lastDigest, lastFindsMore } from './classify.ts';
export { rewriteCalls, rewriteConnectionId } from './connection-id.ts';
export { type LiteralAssignment, literalUserVariableSet } from './literals.ts';
export { type SessionObjects, sessionObjects, type TableName } from './objects.ts';
export { insertsOneRow } from './rows.ts';
export { scopeSystemVariables } from './session-scope.ts';
export { type NamesSetting, setNames, setRole } from './settings.ts';
export { shapeOf } from './shape.ts';
export { beginningOf, startOf } from './start.ts';
export type { Classification, ClassifyOptions, StatementFlags, StatementKind } from './types.ts';

/** Whether a text sets a session_track_* variable, on which the data plane itself relies. */
export function touchesSessionTracking(
  text: Buffer | Uint8Array | string,
  options: ClassifyOptions = { flavor: 'mysql' },
): boolean {
  return classify(text, options).flags.touchesSessionTracking;
}
