// The door of the scenario tests' harness.
export { byHand } from './by-hand.ts';
export { addressOf, Evenkeel, type EvenkeelOptions, inFrontOf, withEvenkeel } from './evenkeel.ts';
export {
  application,
  type ClientError,
  directly,
  Load,
  type LoadOptions,
  reached,
  through,
  valueOn,
  writableNodes,
} from './load.ts';
export { losesCommit } from './lost-commit.ts';
export { autoEndpoints, holdBack, leavesPrimary, replicated, selectsOn } from './reads.ts';
export { explained, type Story, stories } from './stories.ts';
export { succeeds, until, within } from './until.ts';
