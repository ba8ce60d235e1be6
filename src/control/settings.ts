// What workers are told of the configuration, and whether workers of an earlier run were told the same.
import { createHash } from 'node:crypto';
import type { Config } from '../config/types.ts';
import type { GatewaySettings } from '../messages/index.ts';
import type { Material } from './material.ts';

export function gatewaySettings(config: Config, material: Material): GatewaySettings {
  return {
    endpoints: config.endpoints,
    rules: config.rules,
    tls: material.tls,
    rsaKey: material.rsaKey,
    serverTls: Object.fromEntries(config.clusters.map(({ name, serverTls }) => [name, serverTls])),
    hold: config.hold,
    replay: config.replay,
    pool: config.pool,
    limits: config.limits,
    // One worker serves all clusters; the drain order that a recovery sends carries the cluster's own limit.
    drainTimeoutMs: Math.max(0, ...config.clusters.map(({ switchover }) => switchover.drainTimeoutMs)),
    logLevel: config.log.level,
  };
}

/** Equal: a worker that runs with these settings need not be replaced. `build` tells one version of us from another. */
export function settingsHash(settings: GatewaySettings, workers: number, build: string): string {
  return createHash('sha256')
    .update(JSON.stringify([settings, workers, build]))
    .digest('hex');
}
