// Drivers from npm and what is built on them: their ordinary programs get the same answers through Evenkeel.
import { compareDrivers } from '../drivers/compare.ts';

compareDrivers('programs of npm drivers observe the same', [{ file: 'node/mysql2.mjs' }]);
