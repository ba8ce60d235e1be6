// The fence before clients are let to a node that a recovery without an end had promoted. That recovery may have ended
// before its own fence, or what it stopped may have been started since: so all of it is done again. And its replicas
// follow it before clients do: one that restarts would acknowledge to the old primary otherwise.
import type { NodeAddress } from '../messages/index.ts';
import { type Fence, type FenceInput, fenceOf } from './fence.ts';
import { covers, receivedBy } from './gtids.ts';
import { lookAt, viewAfter } from './look.ts';
import { LIMITS } from './plan.ts';
import { type Standing, standingOf } from './stand.ts';
import { wantsSemiSync } from './switchover.ts';
import type { RecoveryContext } from './types.ts';

export interface PromisedFence {
  fence: Fence;
  /** Whether it holds also where a replica restarts that is not among these, and so may follow the old primary again. */
  lasts: (repointed: readonly NodeAddress[]) => boolean;
}

/** Stops what acknowledges to `from`, which does not answer, and tells whether it can acknowledge anything still. */
export async function fenceOfPromised(
  ctx: RecoveryContext,
  from: NodeAddress,
  to: NodeAddress,
): Promise<PromisedFence> {
  const view = ctx.view();
  const others = view.nodes.filter(({ node }) => node !== from && node !== to);
  const following = others.filter(({ observation: { facts } }) => facts?.replication != null);
  await Promise.all(following.map(({ node }) => ctx.nodes.applyAllReceived(node, LIMITS.quiesceMs).catch(() => false)));
  const looks = await Promise.all(view.nodes.map(({ node }) => lookAt(ctx, node, LIMITS.lookMs)));
  const primaryFacts = view.nodes.find(({ node }) => node === from)?.observation.facts ?? null;
  const input: FenceInput = {
    view: viewAfter(view, looks, ctx.clock.nowMs()),
    primary: from,
    primaryFacts,
    durability: wantsSemiSync(ctx, primaryFacts) ? 'semisync' : 'none',
    readOnly: false,
    readOnlyWaits: false,
  };
  const lasts = (repointed: readonly NodeAddress[]) =>
    fenceOf({ ...input, repointed: new Set([to, ...repointed]) }).fenced;
  return { fence: fenceOf(input), lasts };
}

/** Whether clients go to `to`, or back to `from`, which is fenced. Without semi-sync nothing was promised at either. */
export async function standingOfPromised(ctx: RecoveryContext, from: NodeAddress, to: NodeAddress): Promise<Standing> {
  const view = ctx.view();
  const primaryFacts = view.nodes.find(({ node }) => node === from)?.observation.facts ?? null;
  if (!wantsSemiSync(ctx, primaryFacts)) return { stands: 'promised' };
  return standingOf({
    from,
    to,
    looks: await Promise.all(view.nodes.map(({ node }) => lookAt(ctx, node, LIMITS.lookMs))),
  });
}

/** Repoints those that lose nothing by it, and waits for them no longer than a failover would. Whom. */
export async function repointToPromised(
  ctx: RecoveryContext,
  from: NodeAddress,
  to: NodeAddress,
): Promise<NodeAddress[]> {
  const nodes = ctx.view().nodes.map(({ node }) => node);
  const looks = await Promise.all(
    nodes.filter((node) => node !== from).map((node) => lookAt(ctx, node, LIMITS.lookMs)),
  );
  const told = looks.flatMap((look) => ('facts' in look ? [look] : []));
  const own = told.find(({ node }) => node === to)?.facts;
  const others = told.filter(
    ({ facts, node }) =>
      node !== to &&
      own !== undefined &&
      facts.readOnly &&
      facts.replication !== null &&
      facts.flavor === own.flavor &&
      covers(own.flavor, own.gtidExecuted, receivedBy(facts)),
  );
  const follow = async (node: NodeAddress): Promise<string[]> => {
    try {
      await ctx.nodes.follow(node, to, LIMITS.acknowledgerMs);
      return [node];
    } catch {
      return []; // it is made to join when clients are served again
    }
  };
  return (await Promise.all(others.map(({ node }) => follow(node)))).flat();
}
