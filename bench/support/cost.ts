// What a proxy uses while it is measured: processor time and memory of its processes, from /proc.
import type { Peer } from './peers.ts';
import { cpuMs, residentMiB } from './processes.ts';

export interface Cost {
  /** Of the processes that statements pass through, per second of the window. */
  cpuMsPerSecond: number;
  residentMiB: number;
  controlCpuMsPerSecond: number;
  controlResidentMiB: number;
}

interface Reading {
  atMs: number;
  proxyMs: number;
  controlMs: number;
}

/** A window over which a peer's processes are watched; whoever measures says when it begins and ends. */
export class CostWindow {
  readonly #peer: Peer;
  readonly #controls: number[];
  #from: Reading;
  #to: Reading | null = null;

  constructor(peer: Peer) {
    this.#peer = peer;
    this.#controls = peer.controlPid === null ? [] : [peer.controlPid];
    this.#from = this.#read();
  }

  begin(): void {
    this.#from = this.#read();
    this.#to = null;
  }

  end(): void {
    this.#to = this.#read();
  }

  /** Of the window; it ends now where it has not yet. Memory is as it is now. */
  cost(): Cost {
    const to = this.#to ?? this.#read();
    const seconds = Math.max(0.001, (to.atMs - this.#from.atMs) / 1000);
    return {
      cpuMsPerSecond: (to.proxyMs - this.#from.proxyMs) / seconds,
      residentMiB: total(this.#peer.pids, residentMiB),
      controlCpuMsPerSecond: (to.controlMs - this.#from.controlMs) / seconds,
      controlResidentMiB: total(this.#controls, residentMiB),
    };
  }

  #read(): Reading {
    return {
      atMs: performance.now(),
      proxyMs: total(this.#peer.pids, cpuMs),
      controlMs: total(this.#controls, cpuMs),
    };
  }
}

function total(pids: readonly number[], read: (pid: number) => number): number {
  return pids.reduce((all, pid) => all + read(pid), 0);
}
