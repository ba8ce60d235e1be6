// Who waits for a server connection: in order within a group (an endpoint's account), the groups taking turns, so that
// a thousand waiting statements of one do not stand before the first one of another. Pure.

export class FairQueue<T> {
  #groups = new Map<string, T[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(group: string, item: T): void {
    const items = this.#groups.get(group);
    if (items === undefined) this.#groups.set(group, [item]);
    else items.push(item);
    this.#size++;
  }

  /** Takes an item out. False: it was not there. */
  remove(group: string, item: T): boolean {
    const items = this.#groups.get(group);
    const at = items?.indexOf(item) ?? -1;
    if (items === undefined || at < 0) return false;
    items.splice(at, 1);
    this.#size--;
    if (items.length === 0) this.#groups.delete(group);
    return true;
  }

  /** Takes out the first item that `wanted` accepts, looking at each group's first; that group then stands last. */
  take(wanted: (item: T) => boolean): T | null {
    for (const [group, items] of this.#groups) {
      const item = items[0] as T;
      if (!wanted(item)) continue;
      items.shift();
      this.#size--;
      this.#groups.delete(group);
      if (items.length > 0) this.#groups.set(group, items);
      return item;
    }
    return null;
  }

  /** All of them, group by group. */
  *[Symbol.iterator](): Iterator<T> {
    for (const items of this.#groups.values()) yield* items;
  }

  /** Empties it. */
  drain(): T[] {
    const all = [...this];
    this.#groups.clear();
    this.#size = 0;
    return all;
  }
}
