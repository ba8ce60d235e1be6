// What the demo's one screen shows at a moment, and how it is drawn: the nodes with their roles, the rate now, the
// longest wait, and what happens in plain words. Pure; a stranger must understand it.
import type { Slice, WorkloadState } from '../drill/index.ts';
import type { ClusterStatus } from '../http/api.ts';
import type { SandboxInfo } from '../sandbox/index.ts';
import { columns, roundNumber } from './picture.ts';

export interface SceneNode {
  name: string;
  address: string;
  role: 'primary' | 'replica' | 'down' | 'unknown';
  /** In a few words; empty where all is well. */
  detail: string;
}

export interface Note {
  atMs: number;
  text: string;
  kind: 'plain' | 'command' | 'fault' | 'good' | 'bad';
}

export interface Scene {
  title: string;
  elapsedMs: number;
  endpoint: string;
  clients: number;
  nodes: readonly SceneNode[];
  /** Null before the workload runs. */
  workload: WorkloadState | null;
  slices: readonly Slice[];
  notes: readonly Note[];
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';
/** Dresses a text for the terminal, or leaves it as it is. */
export type Paint = (style: Style, text: string) => string;

const CODES: Record<Style, string> = { bold: '1', dim: '2', red: '31', green: '32', yellow: '33', cyan: '36' };

export const colours: Paint = (style, text) => `\x1b[${CODES[style]}m${text}\x1b[0m`;
export const noColours: Paint = (_, text) => text;

/** What is told of a node, as far as it is known. */
export function sceneNodes(sandbox: SandboxInfo, cluster: ClusterStatus | null): SceneNode[] {
  return sandbox.nodes.map(({ name, host, port }) => {
    const address = `${host}:${port}`;
    const seen = cluster?.nodes.find(({ node }) => node === address);
    if (seen === undefined) return { name, address, role: 'unknown', detail: '' };
    if (seen.state === 'unreachable') return { name, address, role: 'down', detail: 'does not answer' };
    const primary = cluster?.primary === address;
    const detail = seen.state === 'ok' || seen.state === 'discovering' ? '' : seen.state.replaceAll('-', ' ');
    return { name, address, role: primary ? 'primary' : 'replica', detail };
  });
}

/** `142 ms`, `1.2 s` */
export function showWait(ms: number): string {
  return ms < 999.5 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** `12.3 s`, six columns wide */
export function showTime(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`.padStart(6);
}

const ROLES: Record<SceneNode['role'], { word: string; style: Style }> = {
  primary: { word: 'PRIMARY', style: 'green' },
  replica: { word: 'replica', style: 'cyan' },
  down: { word: 'DOWN', style: 'red' },
  unknown: { word: '…', style: 'dim' },
};

const NOTE_STYLES: Record<Note['kind'], Style | null> = {
  plain: null,
  command: 'bold',
  fault: 'red',
  good: 'green',
  bad: 'red',
};

const CHART_ROWS = 3;
/** A statement that has waited for so long is shown while it waits. */
const WORTH_SHOWING_MS = 100;
/** On a lower terminal the notes need the room. */
const MIN_ROWS_FOR_CHART = 20;
/** Never drawn wider, however wide the terminal is. */
const MAX_COLUMNS = 100;

/** The lines of the screen, none wider than `width` columns, at most `height` of them: old notes leave first. */
export function drawScene(scene: Scene, width: number, height: number, paint: Paint): string[] {
  const columnsWide = Math.max(40, Math.min(width, MAX_COLUMNS));
  const cut = (text: string): string => (text.length <= columnsWide ? text : `${text.slice(0, columnsWide - 1)}…`);
  const head = [
    paint('bold', cut(`${scene.title}   ${showTime(scene.elapsedMs).trim()}`)),
    '',
    ...drawNodes(scene, cut, paint),
    '',
    ...drawWorkload(scene, columnsWide, height, cut, paint),
    '',
  ];
  const room = Math.max(3, height - head.length - 1);
  const notes = scene.notes.flatMap((note) => noteLines(note, columnsWide).map((line) => dressNote(note, line, paint)));
  return [...head, ...notes.slice(-room)];
}

function drawNodes({ nodes, clients, endpoint }: Scene, cut: (text: string) => string, paint: Paint): string[] {
  const middle = Math.floor((nodes.length - 1) / 2);
  const left = `  ${clients} clients ──► Evenkeel ${endpoint} ──► `;
  return nodes.map(({ name, address, role, detail }, index) => {
    const before = index === middle ? left : ' '.repeat(left.length);
    const { word, style } = ROLES[role];
    const [plain, dressed] = [word.padEnd(8), paint(style, word.padEnd(8))];
    const line = cut(`${before}${name}  ${plain} ${address}  ${detail}`.trimEnd());
    return line.replace(plain, dressed);
  });
}

function drawWorkload(
  scene: Scene,
  width: number,
  height: number,
  cut: (text: string) => string,
  paint: Paint,
): string[] {
  const { workload, slices, clients } = scene;
  if (workload === null) return [cut('  the clients are not connected yet')];
  const held = workload.waitingMs >= WORTH_SHOWING_MS ? `   waiting now ${showWait(workload.waitingMs)}` : '';
  const rate = `  ${roundNumber(workload.ratePerSecond)} statements a second   longest wait ${showWait(workload.longestMs)}`;
  const dropped = clients - workload.connected;
  const counts =
    `  ${roundNumber(workload.acknowledged)} writes confirmed   ${roundNumber(workload.readsChecked)} reads checked` +
    `   ${workload.errors} errors   ${dropped} connections lost${workload.unknown === 0 ? '' : `   ${workload.unknown} unknown`}`;
  const shownHeld = cut(rate + held).slice(rate.length);
  const told = [`${paint('bold', cut(rate))}${paint('yellow', shownHeld)}`, cut(counts)];
  if (height < MIN_ROWS_FOR_CHART) return told;
  // The newest slice is still being filled.
  const recent = slices.slice(0, -1).slice(-(width - 4));
  const values = recent.map(({ answered }) => answered);
  const chart = columns(values, Math.max(1, ...values), CHART_ROWS);
  return [
    ...told,
    '',
    paint('dim', cut('  statements answered, a column for each 100 ms')),
    ...chart.map((row) => paint('green', `  ${row}`)),
  ];
}

const NOTE_INDENT = 10;

/** The note with its time, broken into lines that fit. */
export function noteLines({ atMs, text }: Note, width: number): string[] {
  const room = Math.max(20, width - NOTE_INDENT);
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > room) {
      lines.push(line);
      line = '';
    }
    line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((each, index) => `${index === 0 ? `${showTime(atMs)}  ` : ' '.repeat(8)}  ${each}`);
}

function dressNote({ kind }: Note, line: string, paint: Paint): string {
  const style = NOTE_STYLES[kind];
  return style === null ? line : paint(style, line);
}
