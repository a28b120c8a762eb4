"""Insert a block, and find the records that ClickHouse does not take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipeline.codec import Codec
from pipeline.records import RefusedError
from pipeline.warehouse.client import WarehouseError
from pipeline.warehouse.failures import AwayError, RecordsRefusedError, insert_failure
from pipeline.warehouse.grouping import Block, Message, Refusal, avro_container

INSERT_SETTINGS = {
    # On by default since ClickHouse 26.2: rows would be acknowledged before they are written.
    "async_insert": 0,
    # A replay may bring years at once; by default more than 100 partitions are refused.
    "max_partitions_per_insert_block": 0,
}
# More well-formed records of one block than this cannot all be bad: then it is the tables that do not fit.
MOST_REFUSALS = 100


def insert_block(client: Client, block: Block) -> None:
    """Insert a block as one part per month, all of it or nothing of a month.

    Sorting out repeated rows before they are written pays where a block holds many revisions of a row, and costs a
    fifth of the insert where it does not.

    Raises `RecordsRefusedError`, `AwayError`, or `WarehouseError` for what waiting does not cure.
    """
    try:
        client.raw_insert(
            block.target.entrance,
            column_names=block.target.columns,
            insert_block=avro_container(block),
            fmt="Avro",
            settings={**INSERT_SETTINGS, "optimize_on_insert": int(block.target.is_revised)},
        )
    except (ClickHouseError, OSError) as error:
        raise insert_failure(error) from error


def insert_or_refuse(block: Block, insert: Callable[[Block], None], codec: Codec) -> list[Refusal]:
    """Insert a block except for the records that cannot go in, and return these.

    Only a block that was refused is looked into: the codec reads every record, which finds at once all that are cut
    short, too long or of another type. What ClickHouse still refuses is halved until the records are found that it
    does not take, though they are well-formed.
    """
    try:
        insert(block)
    except RecordsRefusedError:
        whole, refused = _screen(block.messages, codec)
    except AwayError as error:
        if not error.answered:
            raise
        whole, refused = _screen(block.messages, codec)
        if not refused:
            raise
    else:
        return []
    taken_for_bad: list[Refusal] = []
    if refused:
        _insert_by_halves(Block(block.target, whole), insert, taken_for_bad)
    else:
        _halve(Block(block.target, whole), insert, taken_for_bad, "it holds a record that ClickHouse does not take")
    return refused + taken_for_bad


def _screen(messages: Sequence[Message], codec: Codec) -> tuple[list[Message], list[Refusal]]:
    whole, refused = [], []
    for message in messages:
        try:
            codec.decode(message.value() or b"")
        except RefusedError as error:
            refused.append(Refusal(message, error.reason, str(error)))
        else:
            whole.append(message)
    return whole, refused


def _insert_by_halves(block: Block, insert: Callable[[Block], None], refused: list[Refusal]) -> None:
    if not block.messages:
        return
    try:
        insert(block)
    except RecordsRefusedError as error:
        _halve(block, insert, refused, str(error))


def _halve(block: Block, insert: Callable[[Block], None], refused: list[Refusal], explanation: str) -> None:
    messages = block.messages
    if len(messages) > 1:
        middle = len(messages) // 2
        _insert_by_halves(Block(block.target, messages[:middle]), insert, refused)
        _insert_by_halves(Block(block.target, messages[middle:]), insert, refused)
        return
    refused.append(Refusal(messages[0], "refused_by_clickhouse", explanation))
    if len(refused) > MOST_REFUSALS:
        raise WarehouseError(
            f"{block.target.table} refuses one well-formed record after the other, nothing was committed: {explanation}"
        )
