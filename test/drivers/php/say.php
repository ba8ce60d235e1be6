<?php
// What both PHP programs share: where to connect to, and one line of JSON an observation.
error_reporting(E_ALL);
ini_set('display_errors', 'stderr');

$host = getenv('DB_HOST');
$port = (int) getenv('DB_PORT');
$user = getenv('DB_USER');
$password = getenv('DB_PASSWORD');
$name = getenv('DB_NAME');
$otherUser = getenv('DB_OTHER_USER');
$otherPassword = getenv('DB_OTHER_PASSWORD');

function plain($value)
{
    if (is_array($value)) {
        return array_map('plain', $value);
    }
    if (is_object($value)) {
        return array_map('plain', get_object_vars($value));
    }
    if (is_string($value) && strlen($value) > 3000) {
        return strlen($value) . ' bytes, ' . md5($value);
    }
    if (is_string($value) && !preg_match('//u', $value)) {
        return "x'" . bin2hex($value) . "'";
    }
    return $value;
}

function say(string $at, $is): void
{
    echo json_encode(['at' => $at, 'is' => plain($is)], JSON_UNESCAPED_UNICODE | JSON_THROW_ON_ERROR), "\n";
}

/** Says the error that the work must end with. */
function fails(string $at, callable $work): void
{
    try {
        say($at, ['went well' => $work()]);
    } catch (mysqli_sql_exception $error) {
        say($at, [$error->getCode(), $error->getSqlState(), $error->getMessage()]);
    } catch (PDOException $error) {
        say($at, [$error->getCode(), $error->errorInfo ?? null, $error->getMessage()]);
    } catch (Throwable $error) {
        say($at, [get_class($error), $error->getMessage()]);
    }
}
