// The ways in which a benchmark loses a primary, each with the cluster that it needs.
import type { SandboxOptions } from '../../src/sandbox/index.ts';
import { withSandbox } from '../../src/sandbox/index.ts';
import { onSmallDisk, onStallingDisk } from '../../test/scenarios/harness/disk.ts';
import { layNetwork } from '../../test/scenarios/harness/lay-network.ts';
import { EVENKEEL } from '../../test/scenarios/harness/network.ts';
import { addressOf, type Evenkeel, inFrontOf, orderSwitchover, withEvenkeel } from './cluster.ts';

export type Fault = 'kill' | 'freeze' | 'cut' | 'stall' | 'full';

/** What happens to the primary, in words. */
export const FAULT_TITLES: Readonly<Record<Fault, string>> = {
  kill: 'the primary is killed (kill -9)',
  freeze: 'the primary is frozen (SIGSTOP)',
  cut: 'nobody reaches the primary any more (its links swallow everything)',
  stall: "the primary's disk stalls (fsfreeze)",
  full: "the primary's disk is full",
};

/** Enough for a server's data, and little enough to be filled at once. */
const SMALL_DISK_MIB = 400;

type Options = Omit<SandboxOptions, 'dir'> & { workers: number };
/** `strike` makes it happen to the primary, and resolves when it has. */
type Work<T> = (evenkeel: Evenkeel, strike: () => Promise<void>) => Promise<T>;

/** Runs `work` in front of a new cluster in which the fault can happen. */
export async function withFault<T>(fault: Fault, options: Options, work: Work<T>): Promise<T> {
  switch (fault) {
    case 'kill':
    case 'freeze':
      return withEvenkeel(options, (evenkeel) =>
        work(evenkeel, async () =>
          evenkeel.signalNode(await evenkeel.primary(), fault === 'kill' ? 'SIGKILL' : 'SIGSTOP'),
        ),
      );
    case 'cut':
      return withSandbox(options, (sandbox) => cutOff(sandbox, options, work));
    case 'stall':
      return onDisk(options, (evenkeel, node, then) =>
        onStallingDisk(evenkeel, node, (disk) => then(() => disk.stall())),
      )(work);
    case 'full':
      return onDisk(options, (evenkeel, node, then) =>
        onSmallDisk(evenkeel, node, SMALL_DISK_MIB, (disk) => then(() => disk.fill())),
      )(work);
  }
}

async function cutOff<T>(sandbox: Parameters<typeof inFrontOf>[0], options: Options, work: Work<T>): Promise<T> {
  const network = await layNetwork(sandbox);
  try {
    return await inFrontOf(network.sandbox, options, (evenkeel) =>
      work(evenkeel, async () => {
        const primary = await evenkeel.primary();
        const replicas = await evenkeel.replicas();
        for (const party of [EVENKEEL, ...replicas.map(({ name }) => name)]) network.cut(party, primary.name);
      }),
    );
  } finally {
    network.close();
  }
}

type OnDisk = (
  evenkeel: Evenkeel,
  node: Evenkeel['sandbox']['nodes'][number],
  then: (strike: () => void) => Promise<void>,
) => Promise<void>;

/** A replica's data is moved to the disk, and it is made the primary. */
function onDisk(options: Options, mounted: OnDisk): <T>(work: Work<T>) => Promise<T> {
  return <T>(work: Work<T>) =>
    withEvenkeel(options, async (evenkeel) => {
      await evenkeel.healthy();
      const [node] = await evenkeel.replicas();
      if (node === undefined) throw new Error('no replica');
      const results: T[] = [];
      await mounted(evenkeel, node, async (strike) => {
        await evenkeel.healthy();
        await orderSwitchover(evenkeel, addressOf(node));
        results.push(await work(evenkeel, () => Promise.resolve(strike())));
      });
      return results[0] as T;
    });
}
