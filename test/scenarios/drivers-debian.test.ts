// Drivers and clients from Debian's packages: their ordinary programs get the same answers through Evenkeel.
import { compareDrivers } from '../drivers/compare.ts';

compareDrivers('programs of Python, PHP, Perl and Java and the C clients observe the same', [
  { file: 'python/dbapi.py', args: ['pymysql'] },
  { file: 'python/dbapi.py', args: ['MySQLdb'] },
  { file: 'python/sqlalchemy_orm.py', args: ['pymysql'] },
  { file: 'python/sqlalchemy_orm.py', args: ['mysqldb'] },
  { file: 'php/with_mysqli.php' },
  { file: 'php/with_pdo.php' },
  { file: 'perl/dbi.pl', args: ['mysql'] },
  { file: 'perl/dbi.pl', args: ['MariaDB'] },
  { file: 'java/Connector.java' },
  {
    file: 'shell/clients.mjs',
    args: ['mariadb'],
    tools: { client: 'mariadb', dump: 'mariadb-dump', sysbench: 'sysbench' },
  },
  { file: 'shell/clients.mjs', args: ['mysql'], tools: { client: 'mysql', dump: 'mysqldump' }, only: 'mysql' },
]);
