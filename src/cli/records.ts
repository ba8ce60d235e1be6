// How a recovery is shown, alike in `switchover`, `failover` and `history`.
import type { RecoveryRecord, RecoveryStep } from '../recovery/types.ts';
import { printable, showMs, table } from './output.ts';

export function stepLine(step: RecoveryStep): string {
  const at = `+${showMs(step.startedMs)}`.padStart(10);
  return `${at}  ${step.name} (${showMs(step.durationMs)})${step.detail === '' ? '' : `: ${printable(step.detail)}`}`;
}

export function stepsTable(steps: readonly RecoveryStep[]): string[] {
  const rows = steps.map((step) => [
    `+${showMs(step.startedMs)}`,
    showMs(step.durationMs),
    step.name,
    printable(step.detail),
  ]);
  return table([['AT', 'TOOK', 'STEP', 'DETAIL'], ...rows], '  ');
}

function errorsText(count: number): string {
  return count === 1 ? '1 client error' : `${count} client errors`;
}

/** One paragraph: what happened, and what clients noticed. */
export function summaryLines(record: RecoveryRecord): string[] {
  const way = `${record.from ?? 'none'} -> ${record.to ?? 'none'}`;
  return [
    `${record.kind} of ${record.cluster} ${record.outcome}: ${way}, epoch ${record.epoch}, ${showMs(record.durationMs)} (id ${record.id})`,
    ...(record.analysis === undefined ? [] : [`  analysis: ${record.analysis}`]),
    `  reason: ${printable(record.reason)}`,
    `  clients: longest stall ${showMs(record.longestStallMs)}, ${errorsText(record.clientErrors)}`,
  ];
}

export function historyTable(records: readonly RecoveryRecord[]): string[] {
  const rows = records.map((record) => [
    record.id,
    record.startedAt,
    record.kind,
    record.cluster,
    `${record.from ?? 'none'} -> ${record.to ?? 'none'}`,
    record.outcome,
    showMs(record.durationMs),
    showMs(record.longestStallMs),
    String(record.clientErrors),
    printable(record.reason),
  ]);
  const head = ['ID', 'STARTED', 'KIND', 'CLUSTER', 'FROM -> TO', 'OUTCOME', 'TOOK', 'STALL', 'ERRORS', 'REASON'];
  return table([head, ...rows]);
}
