// The configuration after loading: every default filled in, every duration in milliseconds, every size in bytes.
import type {
  EndpointSettings,
  PoolSettings,
  ReplaySettings,
  RuleSettings,
  ServerTlsSettings,
} from '../messages/index.ts';

export interface ClusterConfig {
  name: string;
  /** `host:port`, at least one. */
  seeds: string[];
  admin: { user: string; password: string };
  durability: 'none' | 'semisync' | 'cross-zone' | 'detect';
  /** How commits wait, where they do: for how many replicas, and how long. */
  semisync: { acks: number; timeoutMs: number };
  /** What is known of some nodes beforehand; of the others nothing is. */
  nodes: { node: string; zone: string | null; promotion: 'prefer' | 'neutral' | 'avoid' | 'never'; tier: number }[];
  recovery: 'automatic' | 'observe';
  serverTls: ServerTlsSettings;
  probe: { intervalMs: number; timeoutMs: number; silentAfterMs: number };
  /** Our own small write on the primary. */
  heartbeat: { enabled: boolean; intervalMs: number; deadlineMs: number; degradedAfterMs: number };
  failover: { unfenced: 'promote' | 'wait' | 'refuse'; minIntervalMs: number; maxFailures: number };
  /** `degraded`: what is done about a primary that commits far slower than it used to. */
  switchover: { drainTimeoutMs: number; catchUpTimeoutMs: number; maxLagMs: number; degraded: 'tell' | 'move' };
}

export interface Config {
  /** Path of the file, or null where URLs were given. */
  file: string | null;
  clusters: ClusterConfig[];
  endpoints: EndpointSettings[];
  rules: RuleSettings[];
  users: 'cluster' | { name: string; password: string; hosts: string[] }[];
  hold: { timeoutMs: number; maxStatements: number; maxBytes: number };
  replay: ReplaySettings;
  pool: PoolSettings;
  limits: {
    maxClients: number;
    maxPacketBytes: number;
    handshakeTimeoutMs: number;
    maxUnauthenticated: number;
    clientBufferBytes: number;
  };
  workers: number;
  http: { host: string; port: number; token: string | null };
  tls: { cert: string; key: string; minVersion: 'TLSv1.2' | 'TLSv1.3' } | null;
  stateDir: string;
  store: 'embedded';
  log: { level: 'debug' | 'info' | 'warn' | 'error' };
  /** How long SIGTERM lets clients finish. */
  shutdownTimeoutMs: number;
}
