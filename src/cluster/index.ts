// The door of src/cluster: what a cluster is, who its primary is, whether that lives, and the hands on its nodes.
export * from './types.ts';
export { ConnectionError } from './connection.ts';
export * from './gtid.ts';
