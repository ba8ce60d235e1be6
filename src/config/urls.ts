// `mysql://user:password@host:port`: the seeds of one cluster without a file. The URL holds the admin's password, so
// no message repeats any part of it but its number in the list. Read by hand, since `new URL` is about the web.
import { Complaint, formatAddress, readAddress } from './units.ts';

interface UrlCluster {
  seeds: string[];
  admin: { user: string; password: string };
}

interface ReadUrl extends UrlCluster {
  issues: string[];
}

/** The password may come from EVENKEEL_ADMIN_PASSWORD instead, which does not show in the list of processes. */
export function readUrls(
  urls: readonly string[],
  env: Record<string, string | undefined>,
): { issues: string[]; cluster: UrlCluster | null } {
  if (urls.length === 0) {
    const text = 'no configuration; give --config FILE, or a URL such as mysql://user:password@host:3306';
    return { issues: [text], cluster: null };
  }
  const read = urls.map((url, index) => readUrl(url, urls.length === 1 ? 'the URL' : `URL ${index + 1}`, env));
  const issues = read.flatMap((one) => one.issues);
  const admin = read.find((one) => one.admin.user !== '')?.admin;
  if (
    admin !== undefined &&
    read.some((one) => one.admin.user !== admin.user || one.admin.password !== admin.password)
  ) {
    issues.push(
      'the URLs name different accounts; all are seeds of one cluster, so give each the same user and password',
    );
  }
  const seeds = [...new Set(read.flatMap((one) => one.seeds))];
  return { issues, cluster: admin === undefined ? null : { seeds, admin } };
}

function readUrl(url: string, name: string, env: Record<string, string | undefined>): ReadUrl {
  const nothing = { seeds: [], admin: { user: '', password: '' } };
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(url);
  if (!scheme || !['mysql', 'mariadb'].includes((scheme[1] ?? '').toLowerCase())) {
    return {
      ...nothing,
      issues: [`${name} does not begin with mysql:// or mariadb://; write mysql://user:password@host:3306`],
    };
  }
  const rest = url.slice(scheme[0].length);
  const at = rest.lastIndexOf('@');
  if (at <= 0) return { ...nothing, issues: [`${name} names no user; write mysql://user:password@host:3306`] };
  const account = rest.slice(0, at);
  const hosts = rest.slice(at + 1).replace(/\/$/, '');
  const issues: string[] = [];
  if (/[/?#]/.test(hosts)) {
    issues.push(`${name} has something behind the port; leave out schema and options, or write a configuration file`);
  }
  const seeds = hosts
    .replace(/[/?#].*$/, '')
    .split(',')
    .flatMap((host) => {
      const address = readAddress(host, { defaultPort: 3306 });
      if (!(address instanceof Complaint)) return [formatAddress(address)];
      issues.push(`${name} has a host that is not host:port; write mysql://user:password@host:3306`);
      return [];
    });
  const colon = account.indexOf(':');
  const user = decode(colon < 0 ? account : account.slice(0, colon));
  const password = colon < 0 ? (env['EVENKEEL_ADMIN_PASSWORD'] ?? null) : decode(account.slice(colon + 1));
  if (user === null || (colon >= 0 && password === null)) {
    issues.push(`${name} has a % in user or password that begins no escape; write %25 for it`);
  } else if (password === null) {
    issues.push(`${name} has no password; write user:password@, or set EVENKEEL_ADMIN_PASSWORD`);
  } else if (user === '') {
    issues.push(`${name} names no user; write mysql://user:password@host:3306`);
  }
  return { issues, seeds, admin: { user: user ?? '', password: password ?? '' } };
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
