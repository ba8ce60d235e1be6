// From a file or URLs to a Config, or to a ConfigError that tells everything that is wrong at once: the text is read with
// its places, each section is validated on its own, and what could be read is judged for contradictions.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { z } from 'zod';
import type { AsideTerms, EndpointRoute, EndpointSettings, RuleSettings } from '../messages/index.ts';
import { DEFAULT_LISTEN, type Draft, findContradictions } from './contradictions.ts';
import { ConfigError, type ConfigIssue } from './errors.ts';
import {
  type ClusterInput,
  clusterSchema,
  type EndpointInput,
  endpointSchema,
  isOurs,
  type PartialSettings,
  type RuleInput,
  settingsSchemas,
  TOP_KEYS,
} from './schema.ts';
import { formatPath, type Path, readSource, type Source } from './source.ts';
import type { ClusterConfig, Config } from './types.ts';
import { Complaint, isWhat, nearest, readName } from './units.ts';
import { readUrls } from './urls.ts';

export interface LoadOptions {
  /** The configuration file, relative to `cwd`; or … */
  file?: string;
  /** … the seeds of one cluster as `mysql://user:password@host:port`. */
  urls?: string[];
  env: Record<string, string | undefined>;
  cwd: string;
}

/** Throws ConfigError. */
export function loadConfig(options: LoadOptions): Config {
  if (options.file !== undefined && (options.urls?.length ?? 0) > 0) {
    throw new ConfigError([bare('both a configuration file and URLs are given; give one of them')]);
  }
  if (options.file === undefined) return loadUrls(options);
  const file = resolve(options.cwd, options.file);
  const source = openSource({ file: options.file, env: options.env, cwd: options.cwd });
  return new Loader(source, { shown: options.file, file, directory: dirname(file) }).load();
}

/** What a client of a running Evenkeel needs to know of its configuration. */
export interface ApiAddress {
  host: string;
  port: number;
  /** From `http.token`; null where it is not there or its variable is not set. */
  token: string | null;
  stateDir: string;
}

/**
 * Reads only `http` and `stateDir`, and minds only their errors: an operator who asks for the status need not have the
 * variables with the cluster's passwords set. Throws ConfigError.
 */
export function loadApiAddress(options: { file: string } & Pick<LoadOptions, 'env' | 'cwd'>): ApiAddress {
  const source = openSource(options);
  const file = resolve(options.cwd, options.file);
  return new Loader(source, { shown: options.file, file, directory: dirname(file) }).loadApiAddress();
}

function openSource(options: { file: string } & Pick<LoadOptions, 'env' | 'cwd'>): Source {
  try {
    return readSource(options.file, readFileSync(resolve(options.cwd, options.file), 'utf8'), options.env);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    const text = `the configuration cannot be read (${code}); check the path and its permissions`;
    throw new ConfigError([bare(text, options.file)]);
  }
}

function bare(text: string, file?: string): ConfigIssue {
  return { ...(file === undefined ? {} : { file }), line: 0, column: 0, path: '', text };
}

function loadUrls(options: LoadOptions): Config {
  const { issues, cluster } = readUrls(options.urls ?? [], options.env);
  if (issues.length > 0 || cluster === null) throw new ConfigError(issues.map((text) => bare(text)));
  const top = () => ({ line: 0, column: 0 });
  const data = { clusters: { default: cluster } };
  const source: Source = { data, issues: [], valueAt: top, keyAt: top };
  return new Loader(source, { shown: undefined, file: null, directory: options.cwd }).load();
}

interface Place {
  /** As issues name the file; undefined with URLs. */
  shown: string | undefined;
  file: string | null;
  /** What paths in the configuration are relative to. */
  directory: string;
}

class Loader {
  readonly #source: Source;
  readonly #place: Place;
  readonly #issues: ConfigIssue[];

  constructor(source: Source, place: Place) {
    this.#source = source;
    this.#place = place;
    this.#issues = [...source.issues];
  }

  load(): Config {
    const { data } = this.#source;
    if (this.#issues.length > 0 && data === null) throw new ConfigError(this.#issues);
    if (!isMapping(data)) {
      this.#complain([], `the file ${isWhat(data)}, not a mapping; begin with \`clusters:\``);
      throw new ConfigError(this.#issues);
    }
    this.#unknownKeys([], Object.keys(data), TOP_KEYS);
    const draft: Draft = {
      clusterNames: isMapping(data['clusters']) ? Object.keys(data['clusters']) : [],
      clusters: this.#clusters(data['clusters']),
      endpoints: this.#endpoints(data['endpoints']),
      settings: this.#settings(data),
    };
    for (const found of findContradictions(draft)) this.#complain(found.path, found.text);
    const tls = this.#tls(draft.settings.tls);
    const clusters = draft.clusters.map((entry) => this.#cluster(entry.name, entry.input));
    if (this.#issues.length > 0) throw new ConfigError(this.#issues);
    return build(draft, clusters, tls, this.#place);
  }

  loadApiAddress(): ApiAddress {
    const { data } = this.#source;
    if (!isMapping(data)) throw new ConfigError(this.#issues);
    const { http, stateDir } = this.#settings({ http: data['http'], stateDir: data['stateDir'] });
    const about = this.#issues.filter(({ path }) => /^(http|stateDir)\b/.test(path) && path !== 'http.token');
    if (about.length > 0 || http === undefined) throw new ConfigError(about);
    const { host, port } = http.listen;
    return { host, port, token: http.token || null, stateDir: stateDirOf(stateDir, this.#place) };
  }

  #complain(path: Path, text: string, at: 'key' | 'value' = 'value'): void {
    const position = at === 'key' ? this.#source.keyAt(path) : this.#source.valueAt(path);
    const file = this.#place.shown === undefined ? {} : { file: this.#place.shown };
    this.#issues.push({ ...file, ...position, path: formatPath(path), text });
  }

  #unknownKeys(path: Path, keys: readonly string[], known: readonly string[]): void {
    for (const key of keys) {
      if (known.includes(key)) continue;
      // `password:hunter2` is one key to YAML: show only what stands before the colon.
      const colon = key.indexOf(':');
      const shown = (colon > 0 ? key.slice(0, colon) : key).slice(0, 40);
      const near = nearest(shown, known);
      let mend = near === null ? `known here: ${known.join(', ')}` : `did you mean \`${near}\`?`;
      if (colon > 0) mend = 'put a space after the colon';
      const position = this.#source.keyAt([...path, key]);
      const file = this.#place.shown === undefined ? {} : { file: this.#place.shown };
      const text = colon > 0 ? `has no space after its colon; ${mend}` : `is not a known key; ${mend}`;
      this.#issues.push({ ...file, ...position, path: formatPath([...path, shown]), text });
    }
  }

  /** The value as the schema reads it, or undefined after having complained. */
  #parse<S extends z.ZodType>(schema: S, value: unknown, path: Path): z.output<S> | undefined {
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    this.#translate(result.error.issues, path, value);
    return undefined;
  }

  #translate(issues: readonly z.core.$ZodIssue[], base: Path, input: unknown): void {
    for (const issue of issues) {
      const path: Path = [...base, ...(issue.path as (string | number)[])];
      const value = dig(input, issue.path);
      switch (issue.code) {
        case 'unrecognized_keys':
          this.#unknownKeys(path, issue.keys, knownKeys(path));
          break;
        case 'custom':
          this.#complain(path, isOurs(issue.params) ? issue.message : `is not valid; ${issue.message}`);
          break;
        case 'too_small':
          this.#complain(path, 'is an empty list; write at least one entry');
          break;
        case 'too_big':
          this.#complain(path, `has too many entries; write at most ${String(issue.maximum)}`);
          break;
        case 'invalid_union':
          this.#union(path, value, issue.errors);
          break;
        case 'invalid_type':
          this.#complain(path, `${isWhat(value)}; ${expectation(issue.expected, path)}`);
          break;
        default:
          this.#complain(path, `${isWhat(value)}, which does not fit; see the documentation of this key`);
      }
    }
  }

  /** A union here is `a word, or a list` or `a word, or a number`: the branch that fits the value's type speaks. */
  #union(path: Path, value: unknown, branches: readonly (readonly z.core.$ZodIssue[])[]): void {
    const key = path.at(-1);
    if (key === 'users') {
      const list = branches.at(-1) ?? [];
      if (Array.isArray(value)) this.#translate(list, path, value);
      else this.#complain(path, `${isWhat(value)}, not a list; write cluster, or a list of accounts`);
    } else if (key === 'workers') {
      this.#complain(path, 'is neither a number nor auto; write auto, or a whole number from 1 to 256');
    } else if (Array.isArray(value)) {
      this.#translate(branches[0] ?? [], path, value);
    } else {
      const wrong = value === undefined || value === null ? isWhat(value) : 'is not a known route';
      this.#complain(path, `${wrong}; write primary, replica, auto, or a list such as [db3:3306]`);
    }
  }

  #clusters(value: unknown): Draft['clusters'] {
    const example = 'write `clusters:` and under it a name, `seeds:` and `admin:`';
    if (!isMapping(value) || Object.keys(value).length === 0) {
      const wrong = isMapping(value) ? 'is empty' : isWhat(value);
      this.#complain(['clusters'], `${wrong}; ${example}`);
      return [];
    }
    const clusters: Draft['clusters'] = [];
    for (const [name, entry] of Object.entries(value)) {
      const complaint = readName(name);
      if (complaint instanceof Complaint) this.#complain(['clusters', name], complaint.toString(), 'key');
      const input = this.#parse(clusterSchema, entry, ['clusters', name]);
      if (input !== undefined) clusters.push({ name, input });
    }
    return clusters;
  }

  #endpoints(value: unknown): Draft['endpoints'] {
    if (value === undefined) return null;
    if (!Array.isArray(value) || value.length === 0) {
      const wrong = Array.isArray(value) ? 'is an empty list' : isWhat(value);
      this.#complain(
        ['endpoints'],
        `${wrong}; write a list, each with name, cluster, listen and route, or leave it out`,
      );
      return [];
    }
    return value.map((entry: unknown, index) => ({
      index,
      input: this.#parse(endpointSchema, entry, ['endpoints', index]),
      raw: entry,
    }));
  }

  #settings(data: Record<string, unknown>): PartialSettings {
    const settings: Record<string, unknown> = {};
    for (const [key, schema] of Object.entries(settingsSchemas)) {
      settings[key] = this.#parse(schema, data[key], [key]);
    }
    return settings;
  }

  #readPem(path: Path, file: string): string | null {
    try {
      return readFileSync(resolve(this.#place.directory, file), 'utf8');
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'unreadable';
      this.#complain(
        path,
        `the file cannot be read (${code}); check the path (relative to the configuration's directory)`,
      );
      return null;
    }
  }

  #tls(input: PartialSettings['tls']): Config['tls'] {
    if (input === undefined) return null;
    const cert = this.#readPem(['tls', 'cert'], input.cert);
    const key = this.#readPem(['tls', 'key'], input.key);
    if (cert === null || key === null) return null;
    let certificate: X509Certificate | null = null;
    try {
      certificate = new X509Certificate(cert);
    } catch {
      this.#complain(['tls', 'cert'], 'the file holds no PEM certificate; it begins with -----BEGIN CERTIFICATE-----');
    }
    try {
      const privateKey = createPrivateKey(key);
      if (certificate !== null && !certificate.checkPrivateKey(privateKey)) {
        this.#complain(
          ['tls', 'key'],
          'the key does not belong to tls.cert; name the key that the certificate was made with',
        );
      }
    } catch {
      this.#complain(
        ['tls', 'key'],
        'the file holds no PEM private key without a passphrase; decrypt it with openssl pkey',
      );
    }
    return { cert, key, minVersion: input.minVersion };
  }

  #cluster(name: string, input: ClusterInput): ClusterConfig {
    const { serverTls, probe, heartbeat, failover, semisync, switchover } = input;
    const ca = serverTls.ca === undefined ? null : this.#readPem(['clusters', name, 'serverTls', 'ca'], serverTls.ca);
    return {
      name,
      seeds: input.seeds,
      admin: input.admin,
      durability: input.durability,
      semisync: { acks: semisync.acks, timeoutMs: semisync.timeout },
      nodes: input.nodes.map((one) => ({ ...one, zone: one.zone ?? null })),
      recovery: input.recovery,
      serverTls: { mode: serverTls.mode, ...(ca === null ? {} : { ca }) },
      probe: { intervalMs: probe.interval, timeoutMs: probe.timeout, silentAfterMs: probe.silentAfter },
      heartbeat: {
        enabled: heartbeat.enabled,
        intervalMs: heartbeat.interval,
        deadlineMs: heartbeat.deadline,
        degradedAfterMs: heartbeat.degradedAfter,
      },
      failover: {
        unfenced: failover.unfenced,
        minIntervalMs: failover.minInterval,
        maxFailures: failover.maxFailures,
      },
      switchover: {
        drainTimeoutMs: switchover.drainTimeout,
        catchUpTimeoutMs: switchover.catchUpTimeout,
        maxLagMs: switchover.maxLag,
        degraded: switchover.degraded,
      },
    };
  }
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function dig(value: unknown, path: readonly PropertyKey[]): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, key)) return undefined;
    current = (current as Record<PropertyKey, unknown>)[key];
  }
  return current;
}

function expectation(expected: string, path: Path): string {
  if (expected === 'array') {
    return path.at(-1) === 'seeds' ? 'write a list such as [db1:3306, db2:3306]' : 'write a list, such as [one, two]';
  }
  if (expected !== 'object') return `write ${expected}`;
  const known = knownKeys(path);
  return `write a mapping with ${known.map((key) => `\`${key}\``).join(', ')}`;
}

/** The keys that may stand in the mapping at `path`, for suggestions. */
function knownKeys(path: Path): readonly string[] {
  const [section, , inner] = path;
  let schema: unknown;
  if (section === 'clusters') schema = inner === undefined ? clusterSchema : clusterSchema.shape[inner as 'seeds'];
  else if (section === 'endpoints') schema = endpointSchema;
  else if (section === 'users') return ['name', 'password', 'hosts'];
  else schema = settingsSchemas[section as 'hold'];
  return Object.keys(shapeOf(schema));
}

/** The shape of an object schema, under any `.default()` or `.optional()` around it. */
function shapeOf(schema: unknown): Record<string, unknown> {
  if (typeof schema !== 'object' || schema === null) return {};
  if ('shape' in schema) return schema.shape as Record<string, unknown>;
  if ('element' in schema) return shapeOf(schema.element);
  if ('unwrap' in schema && typeof schema.unwrap === 'function') return shapeOf(schema.unwrap());
  return {};
}

/** Whether a rule sends reads of the endpoint to replicas. */
function sendsAside({ settings: { rules = [] } }: Draft, endpoint: string): boolean {
  return rules.some((rule) => rule.route === 'replica' && (rule.endpoint?.includes(endpoint) ?? true));
}

type RouteInput = Pick<EndpointInput, 'route' | 'maxLag' | 'fallbackToPrimary' | 'causal' | 'causalTimeout'>;

function routeOf(input: RouteInput, aside: boolean): EndpointRoute {
  const { route } = input;
  if (Array.isArray(route)) return { kind: 'fixed', nodes: route };
  const maxLagMs = input.maxLag ?? null;
  if (route === 'primary') return aside ? { kind: route, aside: ASIDE } : { kind: route };
  if (route === 'auto') {
    const causalTimeoutMs = input.causalTimeout ?? CAUSAL_TIMEOUT_MS;
    return { kind: route, maxLagMs, causal: input.causal ?? 'session', causalTimeoutMs };
  }
  return { kind: 'replica', maxLagMs, fallbackToPrimary: input.fallbackToPrimary ?? true };
}

const IN_FLIGHT = 'exactly-once';
const CAUSAL_TIMEOUT_MS = 50;
const ASIDE: AsideTerms = { maxLagMs: null, causal: 'session', causalTimeoutMs: CAUSAL_TIMEOUT_MS };

function rulesOf(rules: readonly RuleInput[]): RuleSettings[] {
  return rules.map(({ name, endpoint, user, schema, statement, route, timeout, refuse, maxPerSecond }) => ({
    name,
    endpoints: endpoint ?? null,
    users: user ?? null,
    schemas: schema ?? null,
    statement: statement ?? null,
    route: route ?? null,
    timeoutMs: timeout ?? null,
    refuse: refuse ?? null,
    maxPerSecond: maxPerSecond ?? null,
  }));
}

function endpointsOf(draft: Draft): EndpointSettings[] {
  const only = draft.clusters[0]?.name ?? '';
  if (draft.endpoints === null) {
    const reader: EndpointRoute = { kind: 'replica', maxLagMs: null, fallbackToPrimary: true };
    const writer: EndpointRoute = routeOf({ route: 'primary' }, sendsAside(draft, 'writer'));
    return [
      { name: 'writer', cluster: only, ...DEFAULT_LISTEN[0], route: writer, inFlight: IN_FLIGHT },
      { name: 'reader', cluster: only, ...DEFAULT_LISTEN[1], route: reader, inFlight: IN_FLIGHT },
    ];
  }
  return draft.endpoints.flatMap(({ input }) => {
    if (input === undefined) return [];
    const { host, port } = input.listen;
    const inFlight = input.inFlight ?? IN_FLIGHT;
    const cluster = input.cluster ?? only;
    const members = draft.clusters.find(({ name }) => name === cluster)?.input.nodes ?? [];
    const near = members.filter(({ zone }) => zone === input.zone).map(({ node }) => node);
    const zone = input.zone === undefined ? {} : { near };
    const route = routeOf(input, sendsAside(draft, input.name));
    return [{ name: input.name, cluster, host, port, route, inFlight, ...zone }];
  });
}

function stateDirOf(stateDir: string | undefined, place: Place): string {
  return stateDir === undefined ? join(place.directory, '.evenkeel') : resolve(place.directory, stateDir);
}

/** Only called when there is no issue, so that every setting is there. */
function build(draft: Draft, clusters: ClusterConfig[], tls: Config['tls'], place: Place): Config {
  const { rules, users, hold, replay, pool, limits, workers, http, stateDir, store, log, shutdownTimeout } =
    draft.settings as Required<typeof draft.settings>;
  if (
    !rules ||
    !users ||
    !hold ||
    !replay ||
    !pool ||
    !limits ||
    !workers ||
    !http ||
    !store ||
    !log ||
    shutdownTimeout === undefined
  ) {
    throw new Error('a setting is absent though the configuration has no issue');
  }
  return {
    file: place.file,
    clusters,
    endpoints: endpointsOf(draft),
    rules: rulesOf(rules),
    users,
    hold: { timeoutMs: hold.timeout, maxStatements: hold.maxStatements, maxBytes: hold.maxBytes },
    replay,
    pool: {
      maxPerNode: pool.maxPerNode,
      maxConnecting: pool.maxConnecting,
      connectRate: pool.connectRate,
      connectTimeoutMs: pool.connectTimeout,
      idleTimeoutMs: pool.idleTimeout,
      minPerAccount: pool.minPerAccount,
      maxLifetimeMs: pool.maxLifetime,
      maxPreparedPerConnection: pool.maxPreparedPerConnection,
      pipelining: pool.pipelining,
    },
    limits: {
      maxClients: limits.maxClients,
      maxPacketBytes: limits.maxPacket,
      handshakeTimeoutMs: limits.handshakeTimeout,
      maxUnauthenticated: limits.maxUnauthenticated,
      clientBufferBytes: limits.clientBuffer,
    },
    workers: workers === 'auto' ? availableParallelism() : workers,
    http: { host: http.listen.host, port: http.listen.port, token: http.token ?? null },
    tls,
    stateDir: stateDirOf(stateDir, place),
    store,
    log,
    shutdownTimeoutMs: shutdownTimeout,
  };
}
