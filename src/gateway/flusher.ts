// What is written during one turn of the event loop goes out at its end, with one system call a connection: the
// statements of many clients, gathered.

export interface Flushable {
  flush(): void;
}

export class Flusher {
  #dirty: Flushable[] = [];

  /** Calls `flush` once, at the end of this turn. */
  add(target: Flushable): void {
    if (this.#dirty.push(target) === 1) setImmediate(this.#run);
  }

  #run = (): void => {
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const target of dirty) target.flush();
  };
}
