// Who recovers this cluster, where several Evenkeels watch it: an advisory lock on every node, held by the standing
// connection of the one that came first. Whoever has most of the nodes that answer acts; the others stand back and
// follow. Pure. A lock ends with its connection, so the place of one that is gone is free.
import type { ClusterView } from './types.ts';

export type Claim =
  /** Nobody else is there, or we have most nodes. */
  { owner: 'us' } | { owner: 'other'; text: string };

/** The name of the lock; servers take at most 64 characters. */
export function claimName(cluster: string): string {
  return `evenkeel:${cluster}`.slice(0, 64);
}

/** Takes the lock where it is free; `got` is 1 where it is ours, `holder` is the connection that has it. */
export function claimSql(quotedName: string): string {
  return (
    `SELECT IF(IS_USED_LOCK(${quotedName}) = CONNECTION_ID(), 1, GET_LOCK(${quotedName}, 0)) AS got,` +
    ` IS_USED_LOCK(${quotedName}) AS holder`
  );
}

/** From what the nodes that answer said. Where both have as many, the first node by name decides: for both alike. */
export function claimOf(view: ClusterView): Claim {
  const told = view.nodes
    .flatMap(({ node, observation: { facts, reach } }) =>
      reach.state === 'up' && facts?.claim !== undefined ? [{ node, claim: facts.claim }] : [],
    )
    .sort((a, b) => (a.node < b.node ? -1 : 1));
  const others = told.filter(({ claim }) => claim !== 'ours');
  const ours = told.length - others.length;
  const [first] = told;
  const [other] = others;
  if (first === undefined || other === undefined || other.claim === 'ours' || ours > others.length)
    return { owner: 'us' };
  if (ours === others.length && first.claim === 'ours') return { owner: 'us' };
  const where = others.map(({ node }) => node).join(', ');
  const text = `another Evenkeel recovers this cluster: it has the lock of ${where} (connection ${other.claim.holder} of ${other.node})`;
  return { owner: 'other', text };
}
