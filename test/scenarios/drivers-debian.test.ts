// Drivers and clients from Debian's packages: their ordinary programs get the same answers through Evenkeel.
// Those that are not equal yet are not among them: docs/drivers.md names them.
import { compareDrivers } from './harness/drivers.ts';

compareDrivers('programs of Python, PHP, Perl and Java and the C clients observe the same', [
  { file: 'python/dbapi.py', args: ['pymysql'] },
  { file: 'python/dbapi.py', args: ['MySQLdb'] },
  { file: 'python/sqlalchemy_orm.py', args: ['pymysql'] },
  { file: 'python/sqlalchemy_orm.py', args: ['mysqldb'] },
  { file: 'php/with_pdo.php' },
  { file: 'php/with_mysqli.php' },
  { file: 'java/Connector.java' },
  { file: 'perl/dbi.pl', args: ['mysql'] },
  { file: 'perl/dbi.pl', args: ['MariaDB'] },
  {
    file: 'shell/clients.mjs',
    args: ['mariadb'],
    tools: { client: 'mariadb', dump: 'mariadb-dump', sysbench: 'sysbench' },
  },
  { file: 'shell/clients.mjs', args: ['mysql'], tools: { client: 'mysql', dump: 'mysqldump' }, only: 'mysql' },
]);
