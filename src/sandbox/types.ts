// A local cluster of real servers, as `sandbox up --json` prints it (design.md section 3).
import type { Flavor } from '../messages/index.ts';

/** `group` is MySQL Group Replication with a single primary; `galera` is MariaDB's. */
export type Replication = 'async' | 'semisync' | 'group' | 'galera';

export interface SandboxOptions {
  flavor: Flavor;
  replication: Replication;
  /** 1 to 5. */
  nodes: number;
  /** Everything lives here; made if missing. */
  dir: string;
  /** Called with one short line a stage. */
  progress?: (line: string) => void;
}

export interface SandboxNode {
  name: string; // node1 …
  host: string; // 127.0.0.1
  port: number;
  pid: number;
  role: 'primary' | 'replica';
}

export interface SandboxInfo {
  flavor: Flavor;
  replication: Replication;
  dir: string;
  admin: { user: string; password: string };
  app: { user: string; password: string; database: string };
  nodes: SandboxNode[];
}
