// The configuration: read, validated, with every default filled in.
export { ConfigError } from './errors.ts';
export { type ApiAddress, type LoadOptions, loadApiAddress, loadConfig } from './load.ts';
export type { ClusterConfig, Config } from './types.ts';
export { Complaint, readDuration } from './units.ts';
