// The store's door: what outlives the process. One implementation so far, a SQLite file.
export { MAX_RECOVERIES_PER_CLUSTER, openEmbeddedStore, StoreError, type StoreErrorCode } from './embedded.ts';
export type { ClusterMemory, MaintenanceOrder, StandingOrders, Store } from './types.ts';
