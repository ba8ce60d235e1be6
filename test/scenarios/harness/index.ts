// The door of the scenario tests' harness.
export { Evenkeel, type EvenkeelOptions, addressOf, withEvenkeel } from './evenkeel.ts';
export { until } from './until.ts';
