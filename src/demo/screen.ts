// Where the demo is told: on a terminal one screen that is redrawn in place, elsewhere plain lines as things happen.

import { roundNumber } from './picture.ts';
import type { Note, Paint, Scene } from './scene.ts';
import { colours, drawScene, noColours, noteLines, showTime, showWait } from './scene.ts';

export interface Screen {
  readonly paint: Paint;
  readonly columns: number;
  /** Called about ten times a second. */
  show(scene: Scene): void;
  /** A line outside the scene: set-up, interruption, the end. */
  line(text: string): void;
}

/** The part of a stream that is used; `process.stdout` and `process.stderr` have it. */
export interface Sink {
  isTTY?: boolean;
  columns?: number;
  rows?: number;
  write(text: string): unknown;
}

const PLAIN_COLUMNS = 100;
const PLAIN_EVERY_MS = 2000;

/** The screen that fits `sink`. */
export function screenFor(sink: Sink, env: Record<string, string | undefined>): Screen {
  if (sink.isTTY !== true || env['TERM'] === 'dumb') return plainScreen(sink);
  return liveScreen(sink, env['NO_COLOR'] ? noColours : colours);
}

function liveScreen(sink: Sink, paint: Paint): Screen {
  let drawn = 0;
  return {
    paint,
    get columns() {
      return sink.columns ?? 80;
    },
    show(scene) {
      const lines = drawScene(scene, sink.columns ?? 80, (sink.rows ?? 24) - 1, paint);
      const back = drawn === 0 ? '' : `\x1b[${drawn}A\r`;
      // Each line clears what stood right of it, the end what stood below: nothing flickers.
      sink.write(`${back}${lines.map((line) => `${line}\x1b[K\n`).join('')}\x1b[J`);
      drawn = lines.length;
    },
    line(text) {
      sink.write(`${text}\n`);
      drawn = 0;
    },
  };
}

function plainScreen(sink: Sink): Screen {
  const told = new Set<Note>();
  let nextMs = PLAIN_EVERY_MS;
  return {
    paint: noColours,
    columns: PLAIN_COLUMNS,
    show({ notes, workload, elapsedMs }) {
      for (const note of notes) {
        if (told.has(note)) continue;
        told.add(note);
        for (const line of noteLines(note, PLAIN_COLUMNS)) sink.write(`${line}\n`);
      }
      if (workload === null || elapsedMs < nextMs) return;
      nextMs = elapsedMs + PLAIN_EVERY_MS;
      const { ratePerSecond, longestMs, acknowledged, errors } = workload;
      sink.write(
        `${showTime(elapsedMs)}    ${roundNumber(ratePerSecond)} statements a second, longest wait so far ${showWait(longestMs)}, ` +
          `${roundNumber(acknowledged)} writes confirmed, ${errors} errors\n`,
      );
    },
    line(text) {
      sink.write(`${text}\n`);
    },
  };
}
