// `evenkeel drill --cluster`: a drill against a cluster that is in use. Nothing happens to it but switchovers that Evenkeel
// is ordered to do, and nothing is written but in a schema that the drill makes; and only by an explicit word.
import type { DrillResult, LoopOptions, RealCluster } from '../demo/index.ts';
import type { StatusJson } from '../http/api.ts';
import type { RecoveryRecord } from '../recovery/types.ts';
import { type ApiOptions, type ApiTarget, callApi, findApi } from './api-client.ts';
import { CommandFailure, UsageError } from './failure.ts';
import { clusterOf } from './orders.ts';

export interface ClusterFlags {
  cluster?: string;
  iMeanIt?: true;
  endpoint?: string;
  user?: string;
  schema?: string;
}

const PASSWORD = 'EVENKEEL_DRILL_PASSWORD';
const SCHEMA = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;
/** ER_DB_CREATE_EXISTS, ER_DBACCESS_DENIED_ERROR */
const HINTS: Record<number, string> = {
  1007: 'name another with --schema: the drill makes its own, and drops it',
  1044: "grant the account all privileges on it: GRANT ALL ON SCHEMA.* TO 'user'@'host'",
};

/** Rejects with UsageError or CommandFailure where it does not begin. */
export async function drillCluster(
  name: string,
  flags: ApiOptions & ClusterFlags,
  loop: LoopOptions,
): Promise<DrillResult> {
  const { schema = 'evenkeel_drill', user } = flags;
  const other = loop.faults.flat().find((kind) => kind !== 'switchover');
  if (other !== undefined)
    throw new UsageError(`--faults: a ${other} is for sandboxes; a cluster of yours is switched over`);
  if (!SCHEMA.test(schema)) throw new UsageError('--schema is not a plain name: letters, digits and _, at most 63');
  if (user === undefined) throw new UsageError(`--user: name the clients' account; its password is in ${PASSWORD}`);
  const target = await findApi(flags, process.env, process.cwd());
  await clusterOf(target, name);
  const { host, port } = endpointOf(
    await callApi<StatusJson>(target, '/api/v1/clusters'),
    name,
    flags.endpoint,
    target,
  );
  if (flags.iMeanIt === undefined) {
    const load = `${loop.connections} clients write into the schema ${schema} through ${host}:${port}`;
    throw new UsageError(
      `${name} would be switched over again and again while ${load}; say --i-mean-it if that is meant`,
    );
  }
  const { runDrillOn } = await import('../demo/index.ts');
  const login = { host, port, user, password: process.env[PASSWORD] ?? '' };
  try {
    return await runDrillOn(await overApi(target, name), login, schema, loop);
  } catch (error) {
    const { message, errno = 0 } = error as Error & { errno?: number };
    const hint = HINTS[errno];
    throw new CommandFailure(hint === undefined ? message : `${message}; ${hint.replace('SCHEMA', schema)}`);
  }
}

async function overApi(target: ApiTarget, name: string): Promise<RealCluster> {
  const status = async () => {
    const found = (await callApi<StatusJson>(target, '/api/v1/clusters')).clusters.find((one) => one.name === name);
    if (found === undefined) throw new CommandFailure(`there is no cluster ${name} any more`);
    return found;
  };
  const { flavor } = await status();
  if (flavor === null) throw new CommandFailure(`Evenkeel does not know yet what servers ${name} has`);
  const path = `/api/v1/clusters/${encodeURIComponent(name)}/switchover`;
  const switchover = async () => {
    const record = await callApi<RecoveryRecord>(target, path, { method: 'POST', body: {} });
    if (record.outcome !== 'done') throw new Error(`the switchover ${record.outcome}: ${record.reason}`);
    return record;
  };
  return { flavor, status, switchover };
}

function endpointOf(
  { endpoints }: StatusJson,
  cluster: string,
  wanted: string | undefined,
  target: ApiTarget,
): { host: string; port: number } {
  const own = endpoints.filter((one) => one.cluster === cluster);
  const found = own.find(({ name, route }) => (wanted === undefined ? route === 'primary' : name === wanted));
  if (found === undefined) {
    const known = own.map(({ name, route }) => `${name} (${route})`).join(', ');
    throw new UsageError(
      wanted === undefined
        ? `${cluster} has no endpoint that routes to the primary; name one with --endpoint: ${known}`
        : `${cluster} has no endpoint ${wanted}; it has: ${known}`,
    );
  }
  const at = found.listen.lastIndexOf(':');
  const host = found.listen.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  // A wildcard is listened on, not connected to.
  const wildcard = host === '0.0.0.0' || host === '::';
  return { host: wildcard ? target.base.hostname : host, port: Number(found.listen.slice(at + 1)) };
}
