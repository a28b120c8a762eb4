"""Why an insert failed: the records, ClickHouse being away or overloaded, or a fault of ours.

The numbers are ClickHouse's error codes (its `ErrorCodes.cpp`, table `system.errors`). A code that stands in neither
list is a fault: it stops the sink with nothing committed. Guessing either way would be worse: taken for bad records,
a missing column would empty the topics into the dead letters; taken for an outage, it would wait for ever.
"""

from __future__ import annotations

from clickhouse_connect.driver.exceptions import ClickHouseError

from pipeline.warehouse.client import WarehouseError, error_code, short_message

_DATA = {
    6: "CANNOT_PARSE_TEXT",
    26: "CANNOT_PARSE_QUOTED_STRING",
    27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    32: "ATTEMPT_TO_READ_AFTER_EOF",
    33: "CANNOT_READ_ALL_DATA",
    36: "BAD_ARGUMENTS",
    38: "CANNOT_PARSE_DATE",
    41: "CANNOT_PARSE_DATETIME",
    69: "ARGUMENT_OUT_OF_BOUND",
    70: "CANNOT_CONVERT_TYPE",
    72: "CANNOT_PARSE_NUMBER",
    117: "INCORRECT_DATA",
    128: "TOO_LARGE_ARRAY_SIZE",
    131: "TOO_LARGE_STRING_SIZE",
    321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    407: "DECIMAL_OVERFLOW",
    469: "VIOLATED_CONSTRAINT",
    691: "UNKNOWN_ELEMENT_OF_ENUM",
}
_AWAY = {
    74: "CANNOT_READ_FROM_FILE_DESCRIPTOR",
    75: "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
    76: "CANNOT_OPEN_FILE",
    159: "TIMEOUT_EXCEEDED",
    160: "TOO_SLOW",
    164: "READONLY",
    173: "CANNOT_ALLOCATE_MEMORY",
    198: "DNS_ERROR",
    201: "QUOTA_EXCEEDED",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    203: "NO_FREE_CONNECTION",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    236: "ABORTED",
    241: "MEMORY_LIMIT_EXCEEDED",
    242: "TABLE_IS_READ_ONLY",
    243: "NOT_ENOUGH_SPACE",
    252: "TOO_MANY_PARTS",
    279: "ALL_CONNECTION_TRIES_FAILED",
    319: "UNKNOWN_STATUS_OF_INSERT",
    394: "QUERY_WAS_CANCELLED",
    425: "SYSTEM_ERROR",
    439: "CANNOT_SCHEDULE_TASK",
    473: "DEADLOCK_AVOIDED",
    499: "S3_ERROR",
    735: "QUERY_WAS_CANCELLED_BY_CLIENT",
    745: "SERVER_OVERLOADED",
    999: "KEEPER_EXCEPTION",
    1000: "POCO_EXCEPTION",
    1002: "UNKNOWN_EXCEPTION",
}
_UNKNOWN_TABLE = 60
_UNKNOWN_DATABASE = 81
# The Avro reader's own exceptions come under the number of all C++ exceptions.
_STD_EXCEPTION = 1001


class RecordsRefusedError(Exception):
    """ClickHouse read the block and does not take what is in it."""


class AwayError(Exception):
    """ClickHouse cannot take anything now; the same block may go in later.

    `answered` tells that ClickHouse itself said so. Then the block may yet be the cause: a length read from a cut
    record can ask for more memory than there is.
    """

    def __init__(self, message: str, *, answered: bool) -> None:
        super().__init__(message)
        self.answered = answered


def insert_failure(error: ClickHouseError | OSError) -> RecordsRefusedError | AwayError | WarehouseError:
    """Return what `error`, raised by an insert, means."""
    if isinstance(error, OSError):
        return AwayError(f"cannot hand over a block: {error.strerror or error}", answered=False)
    code = error_code(error)
    text = short_message(error)
    if code is None:
        # The embedded engine cannot decode its own message when that quotes bytes of a broken record.
        quotes_bytes = _caused_by_text(error)
        return RecordsRefusedError("broken text in a record") if quotes_bytes else AwayError(text, answered=False)
    if code in _DATA or (code == _STD_EXCEPTION and ("avro::" in str(error) or "length_error" in str(error))):
        return RecordsRefusedError(text)
    if code in _AWAY or code == _STD_EXCEPTION:
        return AwayError(text, answered=True)
    advice = ": run `liquidations migrate` first" if code in {_UNKNOWN_TABLE, _UNKNOWN_DATABASE} else ""
    return WarehouseError(f"ClickHouse refuses inserts, nothing was committed ({text}){advice}")


def _caused_by_text(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, UnicodeDecodeError):
            return True
        error = error.__cause__ or error.__context__
    return False
