// `npm run check`: the static checks only; seconds instead of minutes.
import { staticChecks } from './steps.ts';

process.exitCode = (await staticChecks()) ? 0 : 1;
