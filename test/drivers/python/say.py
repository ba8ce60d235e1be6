"""What every Python program here shares: where to connect to, and one line of JSON an observation."""
import datetime
import decimal
import json
import os

HOST = os.environ["DB_HOST"]
PORT = int(os.environ["DB_PORT"])
USER = os.environ["DB_USER"]
PASSWORD = os.environ["DB_PASSWORD"]
NAME = os.environ["DB_NAME"]
OTHER_USER = os.environ["DB_OTHER_USER"]
OTHER_PASSWORD = os.environ["DB_OTHER_PASSWORD"]


def plain(value):
    """JSON has no form for some values; their type is a part of what is observed."""
    if isinstance(value, (bytes, bytearray)):
        return "x'%s'" % value.hex() if len(value) <= 64 else "%d bytes, sum %d" % (len(value), sum(value))
    if isinstance(value, (datetime.datetime, datetime.date, datetime.timedelta, decimal.Decimal)):
        return "%s %s" % (type(value).__name__, value)
    if isinstance(value, (set, frozenset)):
        return sorted(plain(each) for each in value)
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)) or hasattr(value, "_mapping"):
        return [plain(each) for each in value]
    if isinstance(value, Exception):
        return [type(value).__name__, *[plain(each) for each in value.args]]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return "%s %s" % (type(value).__name__, value)


def say(at, value):
    print(json.dumps({"at": at, "is": plain(value)}, ensure_ascii=False), flush=True)


def fails(at, work):
    """Says the error that the work must end with."""
    try:
        say(at, {"went well": work()})
    except Exception as error:
        say(at, getattr(error, "orig", None) or error)
