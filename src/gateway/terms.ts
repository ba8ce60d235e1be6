// What is said of a statement beside its text: by a rule of the configuration, and by its client's hints.
import { Command, type ErrPacket, type Packet, queryAttributes } from '../wire/index.ts';
import type { Client } from './client.ts';
import type { ServerRequest } from './command.ts';
import { gatewayError } from './errors.ts';
import { attributesOfExecution } from './execute-packet.ts';
import { hintsOf } from './hints.ts';

export interface Terms {
  /** It may not run. */
  refusal: ErrPacket | null;
  /** It is stopped when this is over, ms; null: it takes as long as it takes. */
  limitMs: number | null;
  /** Where it is to run, past what the endpoint does; null where nobody says. */
  route: 'primary' | 'replica' | null;
}

/** Most statements'. */
export const NO_TERMS: Terms = Object.freeze({ refusal: null, limitMs: null, route: null });

/** Counts the statement where a rule fits, and notes for its session what it is to see. */
export function termsOf(client: Client, request: ServerRequest, packet: Packet): Terms {
  const ruled = byRule(client, request);
  if (ruled.refusal !== null || client.gate.split === null) return ruled;
  const hinted = byHints(client, request, packet);
  if (hinted === null) return ruled;
  return { ...ruled, ...hinted };
}

function byRule({ rules, session, worker }: Client, request: ServerRequest): Terms {
  const rule = rules?.find(request, session.state.schema) ?? null;
  if (rule === null) return NO_TERMS;
  worker.count('ruled_statements', rule.name);
  return { refusal: rule.refusalOf(request, worker.nowMs()), limitMs: rule.limitOf(request), route: rule.route };
}

/** Null: nothing that changes anything. */
function byHints(client: Client, { text, command, statement }: ServerRequest, packet: Packet): Partial<Terms> | null {
  if (text === null || command === Command.STMT_PREPARE) return null;
  const { capabilities } = client;
  const attributes =
    statement === null
      ? queryAttributes(packet.payload, capabilities)
      : attributesOfExecution(packet, statement, capabilities);
  const hints = hintsOf(text, attributes);
  if (hints === null) return null;
  if ('wrong' in hints) return { refusal: gatewayError('bad-hint', hints.wrong) };
  const { after, primary } = hints;
  const { session, gate } = client;
  if (after !== null && session.causality !== null) {
    session.causality.enter(gate.cluster.route?.epoch ?? 0);
    if (!session.causality.mustSee(after)) {
      return { refusal: gatewayError('bad-hint', `"${after.slice(0, 80)}" is no list of GTIDs`) };
    }
  }
  // What the primary has is all that there is.
  return primary || (after !== null && session.causality === null) ? { route: 'primary' } : null;
}
