// The door of the sequences: random lives of clients, played past the proxy and through it.
export { capabilities, sequence, sequences } from './generate.ts';
export { Noise } from './noise.ts';
export { compare, holds, runsOr } from './play.ts';
export { Stage } from './stage.ts';
export type { Connect, Sequence } from './types.ts';
