// The door of the scenario tests' harness.
export { Evenkeel, type EvenkeelOptions, addressOf, inFrontOf, withEvenkeel } from './evenkeel.ts';
export { until } from './until.ts';
