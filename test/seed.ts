// The one seed of every random test. It is the same in each run of `npm test`, so that what passed here passes there;
// FC_SEED=n takes another, FC_SEED=random one of the hour. Tests of properties take fast-check from here, which then
// uses it and prints it, with the path to the shortest failure, where one fails.
import fc from 'fast-check';

const USUAL = 20_261_123;

const asked = process.env['FC_SEED'];

export const seed = asked === 'random' ? Date.now() % 2 ** 31 : Number(asked ?? USUAL);
if (!Number.isSafeInteger(seed)) throw new Error(`FC_SEED=${asked}: write a whole number, or random`);

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed });

export default fc;
