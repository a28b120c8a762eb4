"""Settings: one frozen object, read once at the entry.

Each field is an environment variable `LIQUIDATIONS_NAME`, or a key of the TOML file named by `--config` or
`LIQUIDATIONS_CONFIG`; the environment wins. Nothing secret has a default.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pipeline.errors import OperationError

_COLOUR = r"^#[0-9a-fA-F]{6}$"
# It stands before the first slash of a connection's name.
COLLECTOR_NAME = r"^[a-zA-Z0-9._-]+$"


class SettingsError(OperationError):
    """A setting is missing or wrong; the message names it."""


class ExchangeSettings(BaseModel):
    """Where one exchange is reached, if not at its own addresses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    urls: dict[str, str] = Field(
        default_factory=dict, description="WebSocket address by channel, in any case (`*`: of every channel)."
    )
    rest_url: str | None = Field(
        default=None, description="scheme://host[:port] in place of that of each REST request."
    )
    proxy: str | None = Field(default=None, description="HTTP proxy for sockets and REST, http://host:port.")

    def url_of(self, channel: str, otherwise: str) -> str:
        """Return the WebSocket address of a channel."""
        named = {name.lower(): url for name, url in self.urls.items()}
        return named.get(channel.lower(), named.get("*", otherwise))


class ContactSettings(BaseModel):
    """Whom Grafana tells of alerts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["webhook", "email"] = Field(description="How.")
    address: str = Field(
        min_length=1, description="Where: a URL or e-mail addresses; `$NAME` is an environment variable of Grafana's."
    )
    severities: tuple[Literal["info", "warning", "critical"], ...] = Field(
        ("warning", "critical"), min_length=1, description="Of which alerts."
    )
    repeat: str = Field("4h", pattern=r"^[1-9][0-9]*[smhd]$", description="How often, while an alert goes on.")


class Settings(BaseSettings):
    """Everything that can be set.

    Nested names are joined by two underscores: LIQUIDATIONS_EXCHANGES__BYBIT__URLS__LINEAR=ws://127.0.0.1:9000/linear.
    """

    model_config = SettingsConfigDict(
        env_prefix="LIQUIDATIONS_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

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
    clickhouse_database: str = Field(
        "liquidations",
        pattern=r"^[a-z][a-z0-9_]{0,47}$",
        description="Database of the views, tables in NAME_data; `demo` and `up` keep to the usual one.",
    )

    lateness_ms: int = Field(5_000, ge=0, description="How far the watermark must pass a bar's end to close it.")
    correction_ms: int = Field(600_000, ge=0, description="How long a closed bar takes late events.")
    behind_ms: int = Field(30_000, ge=1_000, description="A channel this far behind the others is left out.")
    silence_probability: float = Field(
        1e-6, ge=0, lt=1, description="A channel is silent when no data for so long is less likely; 0: never."
    )
    silence_half_life_ms: int = Field(
        43_200_000, ge=600_000, description="How long ago counts half for what a channel usually brings."
    )

    commit_interval_ms: int = Field(150, ge=1, description="Least time between two checkpoints of one partition.")
    max_batch_records: int = Field(5_000, ge=1, description="Most records that the worker folds at once.")
    commit_lock_file: Path | None = Field(
        None, description="A file that workers lock while a transaction ends; only the embedded broker needs it."
    )
    session_timeout_ms: int = Field(6_000, ge=1_000, description="A silent worker or sink loses its partitions.")
    insert_interval_ms: int = Field(200, ge=1, description="Least time between two inserts of the sink.")
    insert_rows: int = Field(50_000, ge=1, description="Most rows of one insert.")

    rules_file: Path | None = Field(None, description="Rules of detection, in TOML; without: the defaults.")

    exchanges: dict[str, ExchangeSettings] = Field(
        default_factory=dict, description="Other addresses and proxies, by exchange: tables of urls, rest_url, proxy."
    )
    collector: str = Field(
        "default", pattern=COLLECTOR_NAME, description="Name of this collector; several may run at once."
    )
    proof_interval_s: float = Field(
        1.0,
        gt=0,
        le=10.0,
        description="How often each connection is asked for a sign of life: coverage rests on it.",
    )
    heartbeat_interval_s: float = Field(
        1.0, gt=0, le=10.0, description="How often each channel is said to be up or down; bars close by it."
    )
    stall_s: float = Field(10.0, gt=0, description="Without a sign of life for so long, a connection covers nothing.")
    confirm_s: float = Field(10.0, gt=0, description="A subscription that is not confirmed within this is repeated.")
    retry_first_s: float = Field(0.5, gt=0, description="First wait before connecting again; doubled at each failure.")
    retry_most_s: float = Field(60.0, gt=0, description="Longest wait before connecting again.")
    refused_again_s: float = Field(300.0, gt=0, description="A subscription that was refused is repeated after this.")

    spool_dir: Path = Field(Path("data/spool"), description="Where ingest keeps records while Kafka is away.")
    spool_bytes: int = Field(
        4 * 1024**3, ge=1024**2, description="Most that one ingest process keeps there; beyond it the newest are lost."
    )
    spool_after_ms: int = Field(
        5_000, ge=100, description="Kafka is away when a record is not confirmed within this time."
    )

    record_interval_ms: int = Field(
        10_000, ge=10, description="Least time between two writes of `record` into its files."
    )

    grafana_url: str = Field("http://127.0.0.1:3000", description="Grafana for `grafana diff` and `grafana push`.")
    grafana_token: SecretStr | None = Field(None, description="Token of a service account there, with the role Editor.")
    grafana_folder: str = Field("Liquidations", min_length=1, description="Grafana's folder of dashboards and alerts.")
    grafana_datasource: str = Field(
        "liquidations-clickhouse",
        pattern=r"^[a-zA-Z0-9_-]{1,40}$",
        description="Uid of Grafana's data source.",
    )
    grafana_timeout_s: float = Field(10.0, gt=0, description="Grafana must answer within this.")
    long_colour: str = Field("#22c55e", pattern=_COLOUR, description="Of longs; blue #2563eb is safe for everybody.")
    short_colour: str = Field("#ef4444", pattern=_COLOUR, description="Of shorts; orange #ea580c goes with it.")
    gradient: float = Field(0.0, ge=0, le=1, description="How strongly columns fade towards their foot.")
    alert_contacts: dict[str, ContactSettings] = Field(
        default_factory=dict, description="Whom Grafana tells of alerts, by name; nobody by default."
    )

    log_format: Literal["console", "json"] = Field("console", description="How log lines look.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")

    def exchange(self, name: str) -> ExchangeSettings:
        """Return where an exchange is reached."""
        return self.exchanges.get(name, _OWN_ADDRESSES)

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


_OWN_ADDRESSES = ExchangeSettings()


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
