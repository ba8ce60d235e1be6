# DBD::mysql and DBD::MariaDB, as applications use them through DBI: placeholders with and without prepared statements
# of the server, fetch modes, transactions, several results.
# usage: dbi.pl mysql|MariaDB
use strict;
use warnings;
use utf8;
use DBI;
use JSON::PP;

binmode STDOUT, ':raw';
$| = 1;
my $driver  = $ARGV[0];
my $prefix  = $driver eq 'mysql' ? 'mysql' : 'mariadb';
my $json    = JSON::PP->new->utf8->canonical->allow_nonref;
my $prepare = "${prefix}_server_prepare";
my $dsn     = "DBI:$driver:database=$ENV{DB_NAME};host=$ENV{DB_HOST};port=$ENV{DB_PORT}";

sub say_at { print $json->encode( { at => $_[0], is => $_[1] } ), "\n" }

sub open_db {
    my (%options) = @_;
    my %utf8 = $driver eq 'mysql' ? ( mysql_enable_utf8mb4 => 1 ) : ();
    return DBI->connect( $dsn, $ENV{DB_USER}, $ENV{DB_PASSWORD}, { RaiseError => 1, PrintError => 0, %utf8, %options } );
}

sub fails {
    my ( $at, $work ) = @_;
    my $got = eval { $work->() };
    say_at( $at, $@ ? [ 0 + ( $DBI::err // 0 ), $DBI::state, $DBI::errstr ] : { wentWell => $got } );
}

sub rows { my ( $db, $sql, @values ) = @_; return $db->selectall_arrayref( $sql, undef, @values ) }

fails( 'a wrong password', sub { DBI->connect( $dsn, $ENV{DB_USER}, 'wrong', { RaiseError => 1, PrintError => 0 } ) } );
for my $server ( 0, 1 ) {
    my $how = $server ? 'native: ' : 'emulated: ';
    my $db = open_db( $prepare => $server );
    my $second = open_db();
    say_at( $how . 'versions', [ "$DBI::VERSION", $db->{"${prefix}_serverinfo"}, $db->{"${prefix}_clientinfo"}, $db->{"${prefix}_hostinfo"} ne '' ? 1 : 0 ] );
    say_at( 'the connection id is the one of the handshake', rows( $db, 'SELECT CONNECTION_ID()' )->[0][0] == $db->{"${prefix}_thread_id"} ? 1 : 0 );
    say_at( $how . 'session', rows( $db, 'SELECT @@character_set_client, @@collation_connection, @@sql_mode, @@time_zone, @@autocommit, DATABASE()' ) );
    $db->do('DROP TABLE IF EXISTS things');
    $db->do("CREATE TABLE things (id INT AUTO_INCREMENT PRIMARY KEY, big BIGINT UNSIGNED, price DECIMAL(20,6), d DOUBLE, day DATE, at DATETIME(6), name VARCHAR(100), raw BLOB, doc JSON, kind ENUM('a','b'), UNIQUE KEY name_key (name)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4");
    my $insert = $db->prepare('INSERT INTO things (big, price, d, day, at, name, doc, kind) VALUES (?, ?, ?, ?, ?, ?, ?, ?)');
    for my $row ( [ '18446744073709551615', '1.5', 0.5, '2024-02-29', '2024-02-29 13:14:15.123456', "Zoë 🐘 '\\", '{"a": [1, null]}', 'b' ], [ (undef) x 8 ], [ 3, -2, 1e10, undef, undef, 'n1', '[]', 'a' ] ) {
        my $count = $insert->execute(@$row);
        say_at( $how . 'inserted', [ $count, $db->last_insert_id( undef, undef, 'things', 'id' ), $db->{"${prefix}_insertid"} ] );
    }
    my $select = $db->prepare('SELECT * FROM things WHERE id >= ? ORDER BY id');
    for my $from ( 1, 2, 90 ) {
        $select->execute($from);
        say_at( $how . 'rows', $select->fetchall_arrayref( {} ) );
    }
    $select->execute(1);
    say_at( $how . 'columns', [ $select->{NAME}, $select->{TYPE}, $select->{PRECISION}, $select->{SCALE}, $select->{NULLABLE}, $select->{"${prefix}_type_name"}, $select->{"${prefix}_is_auto_increment"}, $select->{"${prefix}_table"} ] );
    $select->finish;
    my $values = $db->prepare('SELECT ? AS a, ? AS b, CONCAT(?, ?) AS c');
    for my $set ( [ 1, 2, 'x', 'y' ], [ undef, 2, undef, 'y' ], [ 'text', 2.5, 'ü', '🐘' ], [ '', undef, '', '' ] ) {
        say_at( $how . 'values', $db->selectrow_arrayref( $values, undef, @$set ) );
    }
    for my $n ( 0 .. 60 ) {
        my ($sum) = $db->selectrow_array( "SELECT $n + ?", undef, $n );
        say_at( 'wrong', $n ) if $sum != 2 * $n;
    }
    say_at( $how . 'array of values', [ $db->prepare('INSERT INTO things (name, d) VALUES (?, ?)')->execute_array( {}, [ map {"m$_"} 1 .. 20 ], [ 1 .. 20 ] ) ] );
    say_at( $how . 'updated', $db->do("UPDATE things SET d = 1 WHERE name LIKE 'm1%'") );
    say_at( $how . 'none', $db->do("DELETE FROM things WHERE id = 0") );
    say_at( $how . 'hash', $db->selectall_hashref( "SELECT id, name FROM things WHERE name LIKE 'm1%'", 'name' ) );
    say_at( $how . 'column', $db->selectcol_arrayref("SELECT name FROM things WHERE name LIKE 'm%' ORDER BY id LIMIT 3") );
    $db->begin_work;
    $db->do("UPDATE things SET d = 77 WHERE name = 'n1'");
    say_at( $how . 'seen from outside', rows( $second, "SELECT d FROM things WHERE name = 'n1'" ) );
    $db->do('SAVEPOINT s');
    $db->do('DELETE FROM things');
    $db->do('ROLLBACK TO s');
    $db->commit;
    say_at( $how . 'committed', rows( $second, "SELECT d FROM things WHERE name = 'n1'" ) );
    $db->{AutoCommit} = 0;
    $db->do('DELETE FROM things');
    $db->rollback;
    $db->{AutoCommit} = 1;
    say_at( $how . 'rolled back', rows( $db, 'SELECT COUNT(*), @@autocommit FROM things' ) );
    fails( $how . 'syntax',        sub { $db->do('SELEC 1') } );
    fails( $how . 'missing table', sub { $db->do('SELECT * FROM missing') } );
    fails( $how . 'missing table, prepared', sub { my $s = $db->prepare('SELECT * FROM missing WHERE a = ?'); $s->execute(1) } );
    fails( $how . 'duplicate key', sub { $db->do( 'INSERT INTO things (name) VALUES (?)', undef, 'n1' ) } );
    $db->do("INSERT IGNORE INTO things (name) VALUES ('n1')");
    say_at( $how . 'warnings', [ $db->{"${prefix}_info"}, rows( $db, 'SHOW WARNINGS' ) ] );
    $db->selectall_arrayref('SELECT SQL_CALC_FOUND_ROWS id FROM things LIMIT 2');
    say_at( $how . 'found rows', rows( $db, 'SELECT FOUND_ROWS()' ) );
    $db->do("SET \@a = 1, \@b = 'ü'");
    say_at( $how . 'user variables', rows( $db, 'SELECT @a, @b, @c := 4' ) );
    say_at( $how . 'user variable again', rows( $db, 'SELECT @c' ) );
    $db->do('DROP PROCEDURE IF EXISTS sums');
    $db->do('CREATE PROCEDURE sums(IN n INT, OUT twice INT) BEGIN SELECT n AS n; SELECT n AS a, n * n AS b UNION SELECT 0, 0; SET twice = 2 * n; END');
    my $call = $db->prepare( 'CALL sums(3, @out)', { $prepare => 0 } );
    $call->execute;
    do { say_at( $how . 'a procedure', $call->{NUM_OF_FIELDS} ? $call->fetchall_arrayref : undef ) } while ( $call->more_results );
    $call->finish;
    say_at( $how . 'its OUT parameter', rows( $db, 'SELECT @out' ) );
    my $stream = $db->prepare( 'SELECT a.character_set_name FROM information_schema.character_sets a, information_schema.character_sets b', { "${prefix}_use_result" => $driver eq 'mysql' && !$server ? 1 : 0 } );
    $stream->execute;
    my $count = 0;
    $count++ while $stream->fetchrow_arrayref;
    say_at( $how . 'streamed', $count );
    my $large = $db->selectrow_array( 'SELECT LENGTH(?)', undef, 'x' x 1_500_000 );
    say_at( $how . 'a large value', $large );
    $db->do('CREATE TEMPORARY TABLE scratch (a INT)');
    $db->do( 'INSERT INTO scratch VALUES (?)', undef, $_ ) for 1 .. 3;
    say_at( $how . 'temporary table', rows( $db, 'SELECT SUM(a) FROM scratch' ) );
    $db->do('DROP TEMPORARY TABLE scratch');
    $db->do('ALTER TABLE things ADD COLUMN more INT DEFAULT 7');
    fails( $how . 'prepared before the table changed', sub { $select->execute(2); my $row = $select->fetchrow_arrayref; $select->finish; $row } );
    say_at( $how . 'ping', $db->ping ? 1 : 0 );
    say_at( $how . 'tables', [ $db->tables( undef, $ENV{DB_NAME}, '%', 'TABLE' ) ] );
    fails( $how . 'column_info', sub { [ map { [ @$_[ 2 .. 10 ] ] } @{ $db->column_info( undef, $ENV{DB_NAME}, 'things', '%' )->fetchall_arrayref } ] } );
    say_at( $how . 'primary key', [ $db->primary_key( undef, $ENV{DB_NAME}, 'things' ) ] );
    say_at( $how . 'quoted', [ $db->quote("it's"), $db->quote_identifier('a`b') ] );
    my @many = map { open_db() } 1 .. 5;
    $many[$_]->do("SET \@mine = $_, time_zone = '+0$_:00'") for 0 .. 4;
    say_at( $how . 'each its own', [ map { @{ rows( $many[ $_ % 5 ], 'SELECT @mine, @@time_zone' ) } } 0 .. 14 ] );
    $_->disconnect for @many, $second, $db;
}
