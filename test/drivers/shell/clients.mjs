// The C clients as operators use them: scripts on standard input, a dump and its restore, sysbench.
// usage: clients.mjs mysql|mariadb; the words that start `client`, `dump` and `sysbench` are in DB_TOOLS, as JSON.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { login, say } from '../node/say.mjs';

const tools = JSON.parse(process.env.DB_TOOLS);

function tool(name, args, input = '') {
  const { argv0, env } = tools[name];
  const child = spawn(argv0[0], [...argv0.slice(1), ...args], {
    env: { ...process.env, ...env, MYSQL_PWD: login.password },
  });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (chunk) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk) => (stderr += chunk));
  return new Promise((resolve) =>
    child.on('close', (code) =>
      resolve({ code, stdout, stderr: stderr.replace(/^.*(Deprecated program name|Using a password).*\n/gm, '') }),
    ),
  );
}

const at = ['--no-defaults', '-h', login.host, '-P', String(login.port), '-u', login.user, '--protocol=tcp'];
const script = `
CREATE TABLE things (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50), price DECIMAL(10,2), at DATETIME, raw BLOB, doc JSON, KEY (name)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO things (name, price, at, raw, doc) VALUES ('Zoë 🐘', 1.50, '2024-02-29 01:02:03', x'00ff', '{"a": 1}'), (NULL, NULL, NULL, NULL, NULL);
SELECT LAST_INSERT_ID(), ROW_COUNT();
SHOW WARNINGS;
INSERT IGNORE INTO things (id, name) VALUES (1, 'again');
SHOW WARNINGS;
SET @a = 'kept', time_zone = '+03:00';
SELECT @a, @@time_zone, DATABASE();
CREATE TEMPORARY TABLE scratch SELECT 1 AS a;
SELECT * FROM scratch;
BEGIN; DELETE FROM things; ROLLBACK;
SELECT id, name, price, at, HEX(raw), doc FROM things ORDER BY id;
PREPARE st FROM 'SELECT ? * 2 AS twice'; SET @n = 21; EXECUTE st USING @n; DEALLOCATE PREPARE st;
DELIMITER //
CREATE PROCEDURE sums(IN n INT, OUT twice INT) BEGIN SELECT n AS n; SELECT n * n AS square; SET twice = 2 * n; END//
CREATE TRIGGER before_things BEFORE INSERT ON things FOR EACH ROW SET NEW.name = TRIM(NEW.name)//
DELIMITER ;
CALL sums(4, @o); SELECT @o;
CREATE VIEW named AS SELECT id, name FROM things WHERE name IS NOT NULL;
SHOW TABLES; DESCRIBE things; SHOW CREATE VIEW named;
USE information_schema; SELECT DATABASE();
`;
const client = async (args, input) => await tool('client', [...at, '--default-character-set=utf8mb4', ...args], input);

say('a script', await client(['-t', login.database], script));
say(
  'its warnings and info',
  await client(
    ['-vvv', '--show-warnings', login.database],
    "INSERT IGNORE INTO things (id, name) VALUES (1, 'again'), (9, ' nine ');",
  ).then(withoutTimes),
);
say('one statement', await client(['-N', '-B', '-e', 'SELECT id, name FROM named ORDER BY id', login.database]));
say(
  'vertical',
  await client(['-E', '-e', 'SELECT * FROM things ORDER BY id LIMIT 1', login.database]).then(withoutTimes),
);
say('an error', await client([login.database], 'SELECT 1;\nSELECT * FROM missing;\nSELECT 2;'));
say(
  'errors passed over',
  await client(['--force', login.database], 'SELECT * FROM missing;\nINSERT INTO things (id) VALUES (1);\nSELECT 2;'),
);
say(
  'without keeping the result',
  await client([
    '--quick',
    '-N',
    '-e',
    'SELECT COUNT(*) FROM information_schema.character_sets; SELECT a.character_set_name FROM information_schema.character_sets a, information_schema.character_sets b ORDER BY 1 LIMIT 300',
    login.database,
  ]),
);
say(
  'compressed',
  await client(['--compress', '-N', '-e', "SELECT LENGTH(REPEAT('x', 100000)), REPEAT('y', 3000)", login.database]),
);
say('XML', await client(['--xml', '-e', 'SELECT id, name FROM things ORDER BY id', login.database]));
const dir = await mkdtemp(join(tmpdir(), 'evenkeel-clients-'));
try {
  await writeFile(
    join(dir, 'rows.csv'),
    Array.from({ length: 3000 }, (_, i) => `${100 + i},row ${i},${i / 4}`).join('\n'),
  );
  say(
    'LOAD DATA LOCAL',
    await client([
      '--local-infile=1',
      '-vvv',
      '-e',
      `LOAD DATA LOCAL INFILE '${join(dir, 'rows.csv')}' INTO TABLE things FIELDS TERMINATED BY ',' (id, name, price)`,
      login.database,
    ]).then(withoutTimes),
  );
} finally {
  await rm(dir, { recursive: true, force: true });
}
say('loaded', await client(['-N', '-e', 'SELECT COUNT(*), SUM(price) FROM things', login.database]));

const options = [
  '--single-transaction',
  '--routines',
  '--triggers',
  '--hex-blob',
  '--no-tablespaces',
  '--skip-dump-date',
];
const gtid = process.argv[2] === 'mysql' ? ['--set-gtid-purged=OFF', '--column-statistics=0'] : [];
for (const [how, more] of Object.entries({
  'in one transaction': options,
  'with locks': ['--lock-tables', '--skip-dump-date', '--no-tablespaces', '--skip-extended-insert'],
})) {
  const dump = await tool('dump', [...at, '--default-character-set=utf8mb4', ...more, ...gtid, login.database]);
  say(`a dump ${how}`, {
    code: dump.code,
    stderr: dump.stderr,
    length: dump.stdout.length,
    hash: createHash('sha256').update(dump.stdout).digest('hex'),
  });
  say(
    `its restore ${how}`,
    await client(['-e', 'DROP TABLE things; DROP VIEW named; DROP PROCEDURE IF EXISTS sums', login.database]).then(() =>
      client([login.database], dump.stdout),
    ),
  );
  say(
    `restored ${how}`,
    await client([
      '-N',
      '-e',
      'SELECT COUNT(*), SUM(price), MAX(HEX(raw)), MAX(name) FROM things; SHOW TABLES',
      login.database,
    ]),
  );
}

const bench = [
  `--mysql-host=${login.host}`,
  `--mysql-port=${login.port}`,
  `--mysql-user=${login.user}`,
  `--mysql-password=${login.password}`,
  `--mysql-db=${login.database}`,
  '--tables=2',
  '--table-size=300',
  '--threads=4',
  '--events=150',
  '--time=20',
  '--rand-seed=7',
];
/** How many of what, without the times. */
const counts = ({ code, stdout, stderr }) => ({
  code,
  stderr,
  counts: [
    ...stdout.matchAll(
      /^ +(read|write|other|total|queries|transactions|ignored errors|reconnects|total number of events): +(\d+)/gm,
    ),
  ].map((m) => m.slice(1)),
});
if (tools.sysbench !== undefined) {
  say('sysbench prepare', (await tool('sysbench', ['oltp_read_write', ...bench, 'prepare'])).code);
  for (const work of ['oltp_point_select', 'oltp_read_only', 'oltp_update_index', 'oltp_insert'])
    say(work, counts(await tool('sysbench', [work, ...bench, 'run'])));
  for (const mode of ['disable', 'auto'])
    say(
      `oltp_point_select, prepared statements ${mode}`,
      counts(await tool('sysbench', ['oltp_point_select', ...bench, `--db-ps-mode=${mode}`, 'run'])),
    );
  // One thread: deadlocks would be retried, and counted.
  say(
    'oltp_read_write',
    counts(await tool('sysbench', ['oltp_read_write', ...bench, '--threads=1', '--events=30', 'run'])),
  );
  say('sysbench cleanup', (await tool('sysbench', ['oltp_read_write', ...bench, 'cleanup'])).code);
}

function withoutTimes(answer) {
  return {
    ...answer,
    stdout: answer.stdout.replaceAll(/'[^']*rows.csv'/g, 'FILE').replaceAll(/ ?\(?\d+\.\d+ sec\)?/g, ''),
  };
}
