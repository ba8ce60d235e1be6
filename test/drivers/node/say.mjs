// What every Node.js program here shares: where to connect to, and one line of JSON an observation. Values that JSON
// has no form for are written so that a difference of type shows as well.
export const login = {
  host: process.env.DB_HOST,
  port: Number(process.env.DB_PORT),
  user: process.env.DB_USER,
  password: process.env.DB_PASSWORD,
  database: process.env.DB_NAME,
};

/** The second account, for drivers that can change the user of a connection. */
export const other = { user: process.env.DB_OTHER_USER, password: process.env.DB_OTHER_PASSWORD };

function plain(value) {
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Date) return `date ${Number.isNaN(value.getTime()) ? 'invalid' : value.toISOString()}`;
  if (value instanceof Uint8Array) {
    return value.length > 64
      ? `${value.length} bytes, sum ${value.reduce((sum, byte) => sum + byte, 0)}`
      : `x'${Buffer.from(value).toString('hex')}'`;
  }
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Error) return failure(value);
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
  }
  return value === undefined ? 'undefined' : value;
}

export function say(at, is) {
  console.log(JSON.stringify({ at, is: plain(is) }));
}

/** What an application sees of an error. */
export function failure(error) {
  const { errno, sqlState, code, fatal } = error;
  return { errno, sqlState, code, fatal, message: String(error.sqlMessage ?? error.message).split('\n')[0] };
}

/** Says the error that the work must end with. */
export async function fails(at, work) {
  try {
    say(at, { wentWell: await work() });
  } catch (error) {
    say(at, failure(error));
  }
}

/** For what comes in no order of its own. */
export function byText(a, b) {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1;
}
