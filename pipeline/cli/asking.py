"""Where queries go: to the process that has the data folder open, to the folder itself, or to a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.cli.running import login
from pipeline.settings import Settings

# Every command imports what it needs itself: `--help` and `map` should not wait for Faust, polars and ClickHouse.
# ruff: noqa: PLC0415

# Takes a query and one of ClickHouse's output formats.
Asked = Callable[[str, str], bytes]


@contextmanager
def asking(settings: Settings, data: Path, clickhouse_url: str | None) -> Iterator[Asked]:
    """Give a function that answers read-only queries on the database `liquidations`.

    A running `up` answers for its folder. Raises `WarehouseError` if there is neither such a process nor a folder.
    """
    from pipeline.embedded.pipeline import clickhouse_folder
    from pipeline.embedded.sql_endpoint import ask_endpoint
    from pipeline.warehouse.client import WarehouseError, connect
    from pipeline.warehouse.query import run_query

    if clickhouse_url is None and ask_endpoint(data, "SELECT 1", "TSV") is not None:

        def through(query: str, output_format: str) -> bytes:
            answer = ask_endpoint(data, query, output_format)
            if answer is None:
                raise WarehouseError(f"the process that had {data} open has ended")
            return answer

        yield through
        return
    if clickhouse_url is None and not (data / "clickhouse").is_dir():
        raise WarehouseError(f"there is no data in {data}: run `liquidations demo --data {data}` first")
    client = connect(clickhouse_url or clickhouse_folder(data), *login(settings))
    try:
        yield lambda query, output_format: run_query(client, query, output_format)
    finally:
        client.close()
