// Drivers from npm and what is built on them: their ordinary programs get the same answers through Evenkeel.
// Those that are not equal yet are not among them: docs/drivers.md names them.
import { compareDrivers, OWN_TEXT } from './harness/drivers.ts';

compareDrivers('programs of npm drivers observe the same', [
  {
    file: 'node/mysql2.mjs',
    differs: {
      'executed after close': OWN_TEXT,
      'too few values': 'MySQL says 1210, Evenkeel what MariaDB says: 1835',
    },
  },
  { file: 'node/mariadb.mjs' },
  // MySQL 9 has no way to log in that it speaks.
  { file: 'node/mysql.mjs', only: 'mariadb' },
  { file: 'node/knex.mjs', args: ['mysql2'] },
  { file: 'node/sequelize.mjs', args: ['mysql'] },
  { file: 'node/sequelize.mjs', args: ['mariadb'] },
  { file: 'node/typeorm.mjs', args: ['mysql'] },
  { file: 'node/drizzle.mjs' },
  { file: 'node/prisma.mjs' },
]);
