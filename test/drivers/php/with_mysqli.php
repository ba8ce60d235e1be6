<?php
// mysqli as applications use it: procedural and object style, prepared statements, several statements, asynchronous queries.
require __DIR__ . '/say.php';
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);

function open(): mysqli
{
    global $host, $port, $user, $password, $name;
    $db = new mysqli($host, $user, $password, $name, $port);
    $db->set_charset('utf8mb4');
    return $db;
}

function rows(mysqli $db, string $sql): array
{
    return $db->query($sql)->fetch_all(MYSQLI_ASSOC);
}

$plain = new mysqli($host, $user, $password, $name, $port);
say('the connection id is the one of the handshake', (int) rows($plain, 'SELECT CONNECTION_ID() AS id')[0]['id'] === $plain->thread_id);
say('versions', [PHP_VERSION, mysqli_get_client_info(), $plain->server_info, $plain->server_version, $plain->protocol_version]);
say('the session as it begins', rows($plain, 'SELECT @@character_set_client cs, @@collation_connection co, @@sql_mode m, @@time_zone tz, @@autocommit a, DATABASE() db'));
say('character set', [$plain->character_set_name(), $plain->get_charset()]);
say('ping', @$plain->ping());
say('stat', is_string($plain->stat()));
$plain->close();
fails('a wrong password', fn() => new mysqli($host, $user, 'wrong', $name, $port));
fails('a schema that is not there', fn() => new mysqli($host, $user, $password, 'd_missing', $port));
$options = mysqli_init();
$options->options(MYSQLI_INIT_COMMAND, "SET time_zone = '+02:00', @hello = 'world'");
$options->options(MYSQLI_OPT_INT_AND_FLOAT_NATIVE, true);
$options->options(MYSQLI_OPT_LOCAL_INFILE, true);
$options->real_connect($host, $user, $password, $name, $port, null, MYSQLI_CLIENT_FOUND_ROWS | MYSQLI_CLIENT_COMPRESS);
say('with options', rows($options, 'SELECT @@time_zone tz, @hello h, 1 AS one, 1.5 AS d, 1e0 AS f'));

$db = open();
$second = open();
$db->query("CREATE TABLE things (id INT AUTO_INCREMENT PRIMARY KEY, big BIGINT UNSIGNED, price DECIMAL(20,6), d DOUBLE, day DATE, at DATETIME(6), t TIME,
  name VARCHAR(100), raw BLOB, doc JSON, bits BIT(9), kind ENUM('a','b'), UNIQUE KEY name_key (name)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4");
$name1 = $db->real_escape_string("Zoë 🐘 '\"\\");
$db->query("INSERT INTO things VALUES (NULL, 18446744073709551615, 1.5, 0.1, '2024-02-29', '2024-02-29 13:14:15.123456', '-12:00:00', '$name1', x'00ff27', '{\"a\": [1, null]}', 5, 'b')");
say('inserted', [$db->insert_id, $db->affected_rows, $db->info]);
$db->query("INSERT INTO things (name) VALUES ('n1'), ('n2'), (NULL)");
say('inserted more', [$db->insert_id, $db->affected_rows, $db->info]);
$result = $db->query('SELECT * FROM things ORDER BY id');
say('columns', $result->fetch_fields());
say('rows', $result->fetch_all(MYSQLI_NUM));
$result->data_seek(1);
say('seek', [$result->num_rows, $result->fetch_object()]);
$db->query("UPDATE things SET d = 2 WHERE name LIKE 'n%'");
say('updated', [$db->affected_rows, $db->info]);
$db->query("UPDATE things SET d = 2 WHERE name LIKE 'n%'");
say('nothing changed', [$db->affected_rows, $db->info]);
$options->query("UPDATE things SET d = 2 WHERE name LIKE 'n%'");
say('found rows counted', [$options->affected_rows, $options->info]);

$statement = $db->prepare('INSERT INTO things (big, d, name, raw) VALUES (?, ?, ?, ?)');
$statement->bind_param('idss', $big, $d, $text, $raw);
foreach ([[1, 1.5, 'p1', "\0\1"], [null, null, 'p2', null], [2, 2.5, 'p3', ''], [PHP_INT_MAX, -1e300, null, 'x']] as [$big, $d, $text, $raw]) {
    $statement->execute();
    say('prepared', [$statement->insert_id, $statement->affected_rows, $db->insert_id]);
}
$blob = $db->prepare('INSERT INTO things (name, raw) VALUES (?, ?)');
$null = null;
$text = 'long';
$blob->bind_param('sb', $text, $null);
$blob->send_long_data(1, str_repeat('a', 5000));
$blob->send_long_data(1, str_repeat('b', 5000));
$blob->execute();
say('long data', rows($db, "SELECT LENGTH(raw) AS l, CRC32(raw) AS m FROM things WHERE name = 'long'"));
$select = $db->prepare('SELECT id, big, d, name, raw, day, at, doc FROM things WHERE id >= ? ORDER BY id');
foreach ([1, 3, 6, 100] as $from) {
    $select->bind_param('i', $from);
    $select->execute();
    $got = [];
    $result = $select->get_result();
    while ($row = $result->fetch_row()) {
        $got[] = $row;
    }
    say('selected', $got);
}
$select->execute();
$select->store_result();
say('stored', [$select->num_rows, $select->field_count, $select->param_count]);
$select->bind_result($a, $b, $c, $e, $f, $g, $h, $i);
$select->fetch();
say('bound', [$a, $b, $c, $e]);
$select->free_result();
$select->reset();
$cursor = $db->prepare('SELECT id FROM things ORDER BY id');
$cursor->attr_set(MYSQLI_STMT_ATTR_CURSOR_TYPE, MYSQLI_CURSOR_TYPE_READ_ONLY);

$cursor->execute();
$cursor->bind_result($id);
$ids = [];
while ($cursor->fetch()) {
    $ids[] = $id;
}
say('by a cursor', $ids);
$cursor->close();
for ($n = 0; $n < 100; $n++) {
    $again = $db->prepare("SELECT $n + ? AS n");
    $again->bind_param('i', $n);
    $again->execute();
    if ($again->get_result()->fetch_row()[0] != 2 * $n) {
        say('wrong', $n);
    }
    $again->close();
}
fails('prepare of nonsense', fn() => $db->prepare('SELEC ?'));
say('execute_query', $db->execute_query('SELECT ? AS a, ? AS b', [null, 'ü'])->fetch_assoc());

$db->begin_transaction();
$db->query("DELETE FROM things WHERE name = 'p1'");
$db->savepoint('one');
$db->query('DELETE FROM things');
$db->query('ROLLBACK TO one');
say('seen from outside', rows($second, "SELECT COUNT(*) AS n FROM things WHERE name = 'p1'"));
$db->commit();
say('committed', rows($second, "SELECT COUNT(*) AS n FROM things WHERE name = 'p1'"));
$db->autocommit(false);
$db->query('DELETE FROM things');
$db->rollback();
$db->autocommit(true);
say('rolled back', rows($db, 'SELECT COUNT(*) AS n, @@autocommit AS a FROM things'));
$db->begin_transaction(MYSQLI_TRANS_START_READ_ONLY, 'named');
fails('a write in a read-only transaction', fn() => $db->query('DELETE FROM things'));
$db->rollback();
fails('syntax', fn() => $db->query('SELEC 1'));
fails('missing table', fn() => $db->query('SELECT * FROM missing'));
fails('duplicate key', fn() => $db->query("INSERT INTO things (name) VALUES ('n1')"));
say('error list', [$db->errno, $db->sqlstate, $db->error_list]);
$db->query("INSERT IGNORE INTO things (name, kind) VALUES ('n1', 'a'), ('w', 'zz')");
say('warnings', [$db->warning_count, $db->info]);
$warning = $db->get_warnings();
say('warning', [$warning->message, $warning->sqlstate, $warning->errno, $warning->next(), $warning->message]);
$db->query('SELECT SQL_CALC_FOUND_ROWS id FROM things LIMIT 1');
say('found rows', rows($db, 'SELECT FOUND_ROWS() AS n'));
$db->query("SET @a = 1, @b = 'ü'");
say('user variables', rows($db, 'SELECT @a a, @b b, @c := 5 c'));
say('user variable again', rows($db, 'SELECT @c c'));
$db->query('CREATE PROCEDURE sums(IN n INT, OUT twice INT) BEGIN SELECT n AS n; SELECT n AS a, n * n AS b UNION SELECT 0, 0; SET twice = 2 * n; END');
$db->multi_query("SELECT 1 AS a; CALL sums(4, @out); SELECT @out AS o; INSERT INTO things (name) VALUES ('multi'); SELECT * FROM missing; SELECT 9");
try {
    do {
        $result = $db->store_result();
        say('several', $result ? $result->fetch_all(MYSQLI_ASSOC) : [$db->affected_rows, $db->insert_id]);
    } while ($db->more_results() && $db->next_result());
} catch (mysqli_sql_exception $error) {
    say('several end with', [$error->getCode(), $error->getMessage()]);
}
$call = $db->prepare('CALL sums(?, @out)');
$call->bind_param('i', $n);
$n = 6;
$call->execute();
do {
    $result = $call->get_result();
    say('a procedure, prepared', $result ? $result->fetch_all() : null);
} while ($call->more_results() && $call->next_result());
$call->close();
$db->query('CREATE TABLE numbers (n INT PRIMARY KEY, filler VARCHAR(200))');
for ($from = 0; $from < 2000; $from += 500) {
    $db->query('INSERT INTO numbers VALUES ' . implode(',', array_map(fn($n) => "($n, REPEAT('x', 150))", range($from, $from + 499))));
}
$sum = 0;
foreach ($db->query('SELECT * FROM numbers', MYSQLI_USE_RESULT) as $row) {
    $sum += $row['n'] + strlen($row['filler']);
}
say('streamed', $sum);
$file = tempnam(sys_get_temp_dir(), 'load');
file_put_contents($file, "5000\tfive\n5001\t\\N\n");
$options->query("LOAD DATA LOCAL INFILE '$file' INTO TABLE numbers");
say('LOAD DATA LOCAL', [$options->affected_rows, $options->info, rows($options, 'SELECT * FROM numbers WHERE n >= 5000 ORDER BY n')]);
unlink($file);
// Asynchronous queries over several connections.
$links = array_map(fn() => open(), range(0, 3));
foreach ($links as $i => $link) {
    $link->query("SET @mine = $i");
    $link->query("SELECT SLEEP(0.0$i), @mine AS m", MYSQLI_ASYNC);
}
$answers = [];
$waiting = $links;
while ($waiting) {
    $read = $errors = $reject = $waiting;
    mysqli_poll($read, $errors, $reject, 1);
    foreach ($read as $link) {
        $answers[] = (int) $link->reap_async_query()->fetch_assoc()['m'];
        unset($waiting[array_search($link, $waiting, true)]);
    }
}
sort($answers);
say('asynchronous', $answers);
$db->query('SET @kept = 1');
$db->change_user($otherUser, $otherPassword, $name);
say('another user', rows($db, 'SELECT CURRENT_USER() AS u, DATABASE() AS db, @kept AS k'));
fails('not for that user', fn() => $db->query('DROP TABLE things'));
$second->select_db('information_schema');
say('select_db', rows($second, 'SELECT DATABASE() AS db'));
$persistent = new mysqli("p:$host", $user, $password, $name, $port);
$persistent->query("CREATE TEMPORARY TABLE scratch AS SELECT 1 AS a");
say('temporary table', rows($persistent, 'SELECT * FROM scratch'));
$persistent->close();
$persistent = new mysqli("p:$host", $user, $password, $name, $port);
fails('the temporary table of a persistent connection, used again', fn() => rows($persistent, 'SELECT * FROM scratch'));
say('metadata', rows($second, "SELECT column_name AS c, column_type AS t FROM columns WHERE table_schema = '$name' ORDER BY table_name, ordinal_position"));
