// Whether a node that a recovery without an end had promoted still stands, once the old primary is fenced. Clients past
// Evenkeel, and replicas that had not left the old primary, may have gone on there: what was acknowledged then would be lost
// with it. Pure. Under semi-sync a write is acknowledged only where another node has it; that tells which of the two may
// have acknowledged what the other one lacks.
import { contains, type GtidSet, gtidUnion, parseGtidSet, subtract } from '../cluster/index.ts';
import type { NodeFacts } from '../cluster/types.ts';
import type { Flavor, NodeAddress } from '../messages/index.ts';
import { told } from './gtids.ts';
import type { Look } from './look.ts';

export type Standing =
  /** Clients go to the promised node. */
  | { stands: 'promised' }
  /** It has acknowledged nothing, and the old primary may have: that one goes on. */
  | { stands: 'old'; why: string }
  /** Both may have acknowledged what the other one lacks. */
  | { stands: 'nobody'; why: string };

export interface StandingInput {
  from: NodeAddress;
  to: NodeAddress;
  /** Of all nodes, after the fence. */
  looks: readonly Look[];
}

/** The verdict, in words for the record. Where the old primary or the promised node does not answer there is nothing to compare. */
export function standingOf({ from, to, looks }: StandingInput): Standing {
  const answers = new Map(looks.flatMap((look) => ('facts' in look ? [[look.node, look.facts] as const] : [])));
  const [old, promised] = [answers.get(from), answers.get(to)];
  if (old === undefined || promised === undefined || old.flavor !== promised.flavor) return { stands: 'promised' };
  if (promised.topology != null || old.topology != null) return { stands: 'promised' };
  const others = looks.filter(({ node }) => node !== from && node !== to);
  const unseen = others.some(({ node }) => !answers.has(node));
  const held = (some: GtidSet): NodeAddress[] =>
    others.flatMap(({ node }) => {
      const facts = answers.get(node);
      return facts !== undefined && !isApart(allOf(facts), some) ? [node] : [];
    });
  const lacks = subtract(allOf(old), allOf(promised));
  const [lacking] = held(lacks);
  if (lacks.size === 0 || (lacking === undefined && !unseen)) return { stands: 'promised' };
  const what = `${from} has ${textOf(old.flavor, lacks)}, which ${to} lacks`;
  const how =
    lacking === undefined ? 'a node that does not answer may have acknowledged' : `${lacking} has some of it, too`;
  const own = subtract(allOf(promised), allOf(old));
  const [follower] = held(own);
  const waits = promised.semiSync?.sourceEnabled === true && promised.semiSync.sourceActive;
  if (own.size === 0 || (follower === undefined && !unseen && waits)) {
    return { stands: 'old', why: `${what} (${how}), and nothing was acknowledged at ${to}` };
  }
  const text = `${what} (${how}), and ${to} has ${textOf(old.flavor, own)}, which ${from} lacks: both may have been acknowledged`;
  return { stands: 'nobody', why: text };
}

/** Executed and received; MariaDB's received position stands for all up to it. */
function allOf({ flavor, gtidExecuted, replication }: NodeFacts): GtidSet {
  return parseGtidSet(flavor, gtidUnion(flavor, gtidExecuted, replication?.received ?? ''));
}

function isApart(all: GtidSet, some: GtidSet): boolean {
  return contains(subtract(some, all), some);
}

function textOf(flavor: Flavor, set: GtidSet): string {
  const { count, text } = told(flavor, set);
  return `${count} transaction${count === 1 ? '' : 's'} (${text})`;
}
