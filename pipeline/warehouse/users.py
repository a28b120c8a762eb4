"""Make the four users of `infra/clickhouse/users.sql`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from pydantic import SecretStr

from pipeline.locations import INFRA
from pipeline.warehouse.client import WarehouseError, short_message
from pipeline.warehouse.migrate import split

USERS = INFRA / "clickhouse" / "users.sql"
LEAST_PASSWORD_CHARACTERS = 12


@dataclass(frozen=True, slots=True)
class Passwords:
    """The passwords of `liquidations_migrate`, `_write`, `_read` and `_grafana`. None has a default."""

    migrate: SecretStr
    write: SecretStr
    read: SecretStr
    grafana: SecretStr

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Passwords:
        """Read `LIQUIDATIONS_MIGRATE_PASSWORD` and its siblings; raise `WarehouseError` if one is missing or short."""
        found = {}
        for user in ("migrate", "write", "read", "grafana"):
            name = f"LIQUIDATIONS_{user.upper()}_PASSWORD"
            password = environment.get(name, "")
            if len(password) < LEAST_PASSWORD_CHARACTERS:
                raise WarehouseError(
                    f"{name} must hold a password of at least {LEAST_PASSWORD_CHARACTERS} characters: "
                    "`make secrets` writes one"
                )
            found[user] = SecretStr(password)
        return cls(**found)


def user_statements(path: Path = USERS) -> tuple[str, ...]:
    """Return the statements that make the users, with parameters where passwords go."""
    return split(path.read_text())


def apply_users(client: Client, passwords: Passwords) -> list[str]:
    """Make the users, or set their passwords and rights again, and return their names.

    `client` must be allowed to manage users; the embedded engine has none and is refused with a `WarehouseError`.
    """
    parameters = {
        "migrate_password": passwords.migrate.get_secret_value(),
        "write_password": passwords.write.get_secret_value(),
        "read_password": passwords.read.get_secret_value(),
        "grafana_password": passwords.grafana.get_secret_value(),
    }
    for statement in user_statements():
        needed = {name: value for name, value in parameters.items() if f"{{{name}:" in statement}
        try:
            client.command(statement, parameters=needed or None)
        except ClickHouseError as error:
            raise WarehouseError(f"cannot make the users: {short_message(error)}") from error
    return ["liquidations_migrate", "liquidations_write", "liquidations_read", "liquidations_grafana"]
