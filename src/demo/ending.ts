// How the demo ends: the pictures around each fault, the verdict in words, and the object that `demo --json` prints.
// Pure.
import type { Fault, FaultReport } from '../drill/index.ts';
import type { Flavor } from '../messages/index.ts';
import { panel, roundNumber, scaleTop } from './picture.ts';
import { type Paint, showWait } from './scene.ts';
import type { StoryEnd } from './story.ts';
import { svg } from './svg.ts';

/** What `demo --json` prints (design.md section 3); keys may be added, never renamed. */
export interface DemoResult {
  verdict: 'pass' | 'fail';
  /** Why it failed, in sentences; none where it passed. */
  reasons: string[];
  /** Errors that no client should have seen; those in `unknown` are not among them. */
  clientErrors: number;
  longestStallMs: number;
  /** Writes that were confirmed to their clients. */
  acknowledged: number;
  lost: number;
  duplicated: number;
  /** There although the client was told `not executed`, or although nobody sent it. */
  unexpected: number;
  /** Writes that were on their way when the primary was killed, answered with an error that says `unknown`. */
  unknown: { count: number; executed: number; notExecuted: number };
  readsChecked: number;
  connections: number;
  connectionsLost: number;
  faults: FaultReport[];
  flavor: Flavor;
}

export function resultOf(end: StoryEnd, connections: number, flavor: Flavor): DemoResult {
  const { audit, judgement, connected, readsChecked } = end;
  const { verdict, reasons, clientErrors, longestStallMs, faults } = judgement;
  const { acknowledged, lost, duplicated, unexpected } = audit;
  return {
    verdict,
    reasons: [...reasons, ...audit.examples],
    clientErrors,
    longestStallMs,
    acknowledged,
    lost,
    duplicated,
    unexpected,
    unknown: { count: judgement.unknown, ...audit.unknown },
    readsChecked,
    connections,
    connectionsLost: connections - connected,
    faults,
    flavor,
  };
}

const TITLES: Record<Fault['kind'], string> = {
  switchover: 'switchover',
  kill: 'kill -9 of the primary',
};

const LABEL_COLUMNS = 13;
const BEFORE_SHARE = 0.3;
const MAX_PANEL_SLICES = 70;

/** The pictures around the faults, a column for each slice, on the same scales. */
export function pictures(end: StoryEnd, columns: number, paint: Paint): string[] {
  const { timeline } = end.workload;
  const { sliceMs } = timeline;
  const slices = timeline.slices.slice(0, -1);
  const wide = Math.max(20, Math.min(MAX_PANEL_SLICES, columns - LABEL_COLUMNS - 1));
  const topRate = scaleTop(Math.max(...slices.map(({ answered }) => (answered * 1000) / sliceMs), 1));
  const topWaitMs = scaleTop(Math.max(...slices.map(({ waitMs }) => waitMs), 1));
  return end.judgement.faults.flatMap((fault) => {
    const [title = '', ...rest] = panel(slices, {
      title: `  ${TITLES[fault.kind]} (a column is ${sliceMs} ms)`,
      fault: fault.kind === 'kill' ? 'kill -9' : 'switchover',
      faultMs: fault.at,
      beforeMs: wide * BEFORE_SHARE * sliceMs,
      afterMs: wide * (1 - BEFORE_SHARE) * sliceMs,
      sliceMs,
      topRate,
      topWaitMs,
    });
    return ['', paint('bold', title), ...rest];
  });
}

/** The verdict in words. */
export function verdictLines(result: DemoResult, paint: Paint): string[] {
  const pass = result.verdict === 'pass';
  const { acknowledged, lost, duplicated, connections, connectionsLost, clientErrors } = result;
  const lines = [
    '',
    paint(pass ? 'green' : 'red', paint('bold', pass ? 'PASS' : 'FAIL')),
    `  ${roundNumber(acknowledged)} writes were confirmed to clients: ${lost} lost, ${duplicated} applied twice`,
    `  ${roundNumber(result.readsChecked)} reads were checked: every client must find its own confirmed writes`,
    `  ${connections} connections were opened at the start: ${connectionsLost} lost`,
    ...result.faults.map((fault) => `  ${TITLES[fault.kind]}: a client waited at most ${showWait(fault.stallMs)}`),
    `  ${clientErrors} errors that no client should have seen`,
    ...unknownLines(result),
  ];
  return [...lines, ...result.reasons.map((reason) => `  failed: ${reason}`)];
}

function unknownLines({ unknown: { count, executed, notExecuted } }: DemoResult): string[] {
  if (count === 0) return [];
  return [
    `  ${count} answered honestly as unknown: writes that had been sent to the primary when`,
    `    it was killed (${executed} turned out to be executed, ${notExecuted} not). Their clients got an error`,
    '    that says so and kept their connections. All others waited, and then ran.',
  ];
}

/** The picture of the whole run for `--svg`. */
export function drawing(end: StoryEnd, result: DemoResult, title: string): string {
  const { acknowledged, lost, duplicated, connections, connectionsLost, unknown } = result;
  const doubt = unknown.count === 0 ? '' : ` · ${unknown.count} in flight answered as unknown`;
  return svg(end.workload.timeline, {
    title: `${connections} clients, three ${title} servers, one address`,
    subtitle:
      'Every client writes, reads back and compares, on one connection, while its primary is moved and then killed.',
    footer:
      `${roundNumber(acknowledged)} writes confirmed · ${lost} lost · ${duplicated} applied twice · ` +
      `${connectionsLost} connections lost${doubt}`,
    faults: result.faults.map((fault) => ({
      atMs: fault.at,
      title: TITLES[fault.kind],
      note: `clients waited at most ${showWait(fault.stallMs)}`,
    })),
  });
}
