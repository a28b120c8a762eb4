"""One embedded warehouse for the tests of a module, emptied before each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client

from pipeline.codec import Codec
from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate


@pytest.fixture(scope="session")
def codec() -> Codec:
    return Codec()


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = connect(f"chdb://{tmp_path_factory.mktemp('warehouse')}")
    migrate(client)
    yield client
    client.close()


@pytest.fixture
def client(warehouse: Client) -> Client:
    tables = warehouse.query(
        "SELECT name FROM system.tables WHERE database = 'liquidations_data'"
        " AND engine LIKE '%MergeTree' AND name != 'migrations'"
    ).result_rows
    for (table,) in tables:
        warehouse.command(f"TRUNCATE TABLE liquidations_data.{table}")
    return warehouse
