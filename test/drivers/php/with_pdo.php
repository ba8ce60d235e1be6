<?php
// PDO as applications use it: emulated and native prepared statements, fetch modes, transactions.
require __DIR__ . '/say.php';

function open(array $options = []): PDO
{
    global $host, $port, $user, $password, $name;
    return new PDO("mysql:host=$host;port=$port;dbname=$name;charset=utf8mb4", $user, $password, $options + [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}

function rows(PDO $db, string $sql): array
{
    return $db->query($sql)->fetchAll(PDO::FETCH_ASSOC);
}

fails('a wrong password', fn() => new PDO("mysql:host=$host;port=$port", $user, 'wrong'));
fails('a schema that is not there', fn() => new PDO("mysql:host=$host;port=$port;dbname=d_missing", $user, $password));
foreach ([true, false] as $emulate) {
    $how = $emulate ? 'emulated: ' : 'native: ';
    $db = open([PDO::ATTR_EMULATE_PREPARES => $emulate, PDO::MYSQL_ATTR_INIT_COMMAND => "SET time_zone = '+01:00'", PDO::MYSQL_ATTR_LOCAL_INFILE => true]);
    say($how . 'session', [$db->getAttribute(PDO::ATTR_SERVER_VERSION), rows($db, 'SELECT @@character_set_client cs, @@collation_connection co, @@sql_mode m, @@time_zone tz, @@autocommit a')]);
    $db->exec('DROP TABLE IF EXISTS things');
    $db->exec("CREATE TABLE things (id INT AUTO_INCREMENT PRIMARY KEY, n BIGINT, price DECIMAL(10,3), d DOUBLE, at DATETIME, name VARCHAR(50), raw BLOB, doc JSON, yes BOOLEAN, UNIQUE (name)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4");
    $insert = $db->prepare('INSERT INTO things (n, price, d, at, name, raw, doc, yes) VALUES (:n, :price, :d, :at, :name, :raw, :doc, :yes)');
    foreach ([[1, '1.250', 0.1, '2024-02-29 01:02:03', "Zoë 🐘 '", "\0\xff", '{"a": 1}', true], [null, null, null, null, null, null, null, null], [PHP_INT_MAX, '-3', 1e10, null, 'x', '', '[]', false]] as $row) {
        $insert->bindValue(':n', $row[0], PDO::PARAM_INT);
        $insert->bindValue(':price', $row[1]);
        $insert->bindValue(':d', $row[2]);
        $insert->bindValue(':at', $row[3]);
        $insert->bindValue(':name', $row[4]);
        $insert->bindValue(':raw', $row[5], PDO::PARAM_LOB);
        $insert->bindValue(':doc', $row[6]);
        $insert->bindValue(':yes', $row[7], PDO::PARAM_BOOL);
        $insert->execute();
        say($how . 'inserted', [$db->lastInsertId(), $insert->rowCount()]);
    }
    $select = $db->prepare('SELECT * FROM things WHERE id > ? ORDER BY id');
    foreach ([0, 2, 50] as $from) {
        $select->execute([$from]);
        say($how . 'rows', $select->fetchAll(PDO::FETCH_ASSOC));
    }
    say($how . 'columns', array_map(fn($i) => $select->getColumnMeta($i), range(0, 8)));
    say($how . 'column', $db->query('SELECT name FROM things ORDER BY id')->fetchAll(PDO::FETCH_COLUMN));
    say($how . 'pairs', $db->query('SELECT id, name FROM things ORDER BY id')->fetchAll(PDO::FETCH_KEY_PAIR));
    say($how . 'objects', $db->query('SELECT id, n FROM things ORDER BY id')->fetchAll(PDO::FETCH_OBJ));
    $lazy = $db->prepare('SELECT ? AS a, ? AS b, ? + 1 AS c');
    foreach ([['x', null, 1], [null, 'ü', 2], ['', '🐘', null]] as $values) {
        $lazy->execute($values);
        say($how . 'values', $lazy->fetch(PDO::FETCH_NUM));
        $lazy->closeCursor();
    }
    for ($n = 0; $n < 50; $n++) {
        $sum = $db->prepare("SELECT $n + ? AS n");
        $sum->execute([$n]);
        if ((int) $sum->fetchColumn() !== 2 * $n) {
            say('wrong', $n);
        }
    }
    $db->beginTransaction();
    $db->exec("UPDATE things SET n = 5 WHERE name = 'x'");
    say($how . 'in a transaction', $db->inTransaction());
    $db->exec('SAVEPOINT s');
    $db->exec('DELETE FROM things');
    $db->exec('ROLLBACK TO s');
    $db->commit();
    $db->beginTransaction();
    $db->exec('DELETE FROM things');
    $db->rollBack();
    say($how . 'after', [rows($db, 'SELECT id, n FROM things ORDER BY id'), $db->inTransaction()]);
    $db->beginTransaction();
    $db->exec("CREATE TABLE IF NOT EXISTS made_inside (a INT)");
    fails($how . 'DDL ended the transaction', fn() => $db->commit());
    $db->setAttribute(PDO::ATTR_AUTOCOMMIT, 0);
    $db->exec("INSERT INTO things (name) VALUES ('auto')");
    $db->rollBack();
    $db->setAttribute(PDO::ATTR_AUTOCOMMIT, 1);
    say($how . 'without autocommit', rows($db, "SELECT COUNT(*) AS n, @@autocommit AS a FROM things WHERE name = 'auto'"));
    fails($how . 'syntax', fn() => $db->query('SELEC 1'));
    fails($how . 'missing table', fn() => $db->prepare('SELECT * FROM missing WHERE a = ?')->execute([1]));
    fails($how . 'duplicate key', fn() => $db->prepare('INSERT INTO things (name) VALUES (?)')->execute(['x']));
    $db->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_SILENT);
    say($how . 'silent', [$db->exec('nonsense'), $db->errorCode(), $db->errorInfo()]);
    $db->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
    $db->exec("INSERT IGNORE INTO things (name) VALUES ('x')");
    say($how . 'warnings', rows($db, 'SHOW WARNINGS'));
    $db->query('SELECT SQL_CALC_FOUND_ROWS id FROM things LIMIT 1')->fetchAll();
    say($how . 'found rows', $db->query('SELECT FOUND_ROWS()')->fetchColumn());
    $db->exec("SET @a = 1, @b = 'ü'");
    say($how . 'user variables', rows($db, 'SELECT @a, @b, @c := 3'));
    say($how . 'user variable again', rows($db, 'SELECT @c'));
    $db->exec('DROP PROCEDURE IF EXISTS sums');
    $db->exec('CREATE PROCEDURE sums(IN n INT, OUT twice INT) BEGIN SELECT n AS n; SELECT n AS a, n * n AS b UNION SELECT 0, 0; SET twice = 2 * n; END');
    $call = $db->prepare('CALL sums(?, @out)');
    $call->execute([3]);
    do {
        say($how . 'a procedure', $call->columnCount() > 0 ? $call->fetchAll(PDO::FETCH_NUM) : null);
    } while ($call->nextRowset());
    $call->closeCursor();
    say($how . 'its OUT parameter', rows($db, 'SELECT @out AS o'));
    if ($emulate) {
        $several = $db->query("SELECT 1 AS a; INSERT INTO things (name) VALUES ('several'); SELECT COUNT(*) FROM things");
        do {
            say($how . 'several statements', [$several->columnCount() > 0 ? $several->fetchAll(PDO::FETCH_NUM) : $several->rowCount()]);
        } while ($several->nextRowset());
    }
    $db->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, false);
    $stream = $db->query('SELECT a.character_set_name, b.character_set_name FROM information_schema.character_sets a, information_schema.character_sets b');
    $count = 0;
    foreach ($stream as $row) {
        $count++;
    }
    $stream->closeCursor();
    $db->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, true);
    say($how . 'streamed', $count);
    $db->exec('ALTER TABLE things ADD COLUMN more INT DEFAULT 7');
    $select->execute([2]);
    say($how . 'prepared before the table changed', $select->fetchAll(PDO::FETCH_ASSOC));
    $file = tempnam(sys_get_temp_dir(), 'load');
    file_put_contents($file, "1\n2\n");
    say($how . 'LOAD DATA LOCAL', [$db->exec("LOAD DATA LOCAL INFILE '$file' INTO TABLE made_inside"), rows($db, 'SELECT SUM(a) AS s FROM made_inside')]);
    unlink($file);
    $persistent = open([PDO::ATTR_PERSISTENT => true, PDO::ATTR_EMULATE_PREPARES => $emulate]);
    $persistent->exec("SET @kept = 1");
    $persistent = null;
    say($how . 'persistent', rows(open([PDO::ATTR_PERSISTENT => true, PDO::ATTR_EMULATE_PREPARES => $emulate]), 'SELECT DATABASE() AS db, @kept AS k'));
    say($how . 'catalogue', rows($db, "SELECT column_name AS c, column_type AS t, column_default AS d FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position"));
    say($how . 'quoted', $db->quote("a'b\\c\n"));
}
