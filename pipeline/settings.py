"""Settings: one frozen object, read once at the entry.

Each field is an environment variable `LIQUIDATIONS_NAME`, or a key of the TOML file named by `--config` or
`LIQUIDATIONS_CONFIG`; the environment wins. Nothing secret has a default.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pipeline.errors import OperationError


class SettingsError(OperationError):
    """A setting is missing or wrong; the message names it."""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(env_prefix="LIQUIDATIONS_", frozen=True, extra="forbid")

    bootstrap_servers: str = Field("127.0.0.1:9092", description="Kafka brokers, host:port, comma separated.")
    topic_prefix: str = Field("", pattern=r"^[a-zA-Z0-9._-]*$", description="Put before every topic and group.")
    partitions: int = Field(8, ge=1, le=1024, description="Partitions of events and of the worker's outputs.")
    replication_factor: int = Field(1, ge=1, description="Copies of each topic's partitions.")
    schema_registry_url: str | None = Field(None, description="Take schema ids from this registry.")

    clickhouse_url: str = Field(
        "http://127.0.0.1:8123", description="ClickHouse over HTTP(S), or chdb:///path for the embedded engine."
    )
    clickhouse_user: str | None = Field(None, description="User for this command.")
    clickhouse_password: SecretStr | None = Field(None, description="Password for this command.")

    lateness_ms: int = Field(5_000, ge=0, description="How far the watermark must pass a bar's end to close it.")
    correction_ms: int = Field(600_000, ge=0, description="How long a closed bar takes late events.")
    behind_ms: int = Field(30_000, ge=1_000, description="A channel this far behind the others is left out.")

    commit_interval_ms: int = Field(150, ge=1, description="Least time between two checkpoints of one partition.")
    max_batch_records: int = Field(5_000, ge=1, description="Most records that the worker folds at once.")
    session_timeout_ms: int = Field(6_000, ge=1_000, description="A silent worker or sink loses its partitions.")
    insert_interval_ms: int = Field(200, ge=1, description="Least time between two inserts of the sink.")
    insert_rows: int = Field(50_000, ge=1, description="Most rows of one insert.")

    log_format: Literal["console", "json"] = Field("console", description="How log lines look.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, whose values come in as arguments."""
        return (env_settings, init_settings)


def read_settings(config: Path | None = None) -> Settings:
    """Read the environment and, if given, a TOML file. Raise `SettingsError` with one clear line."""
    values: dict[str, Any] = {}
    if config is not None:
        try:
            values = tomllib.loads(config.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"cannot read settings from {config}: {error}") from error
    try:
        return Settings(**values)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"wrong settings: {wrong}") from error
