"""Settings with which a collector listens to the server instead of the real exchanges."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from pipeline.embedded.exchange_server.flow import EXCHANGES
from pipeline.embedded.exchange_server.server import HOST
from pipeline.feeds.discovery import feed_of

# Hosts of one exchange whose paths are the same, apart from what stands before them here.
_BEFORE = {"dstream.binance.com": "/dstream"}


def addresses(ports: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Return the setting `exchanges`: each channel's own path and each REST request's, on the server's ports.

    The paths are those that the feeds name, so a wrong one meets nothing on the server.
    """
    found: dict[str, dict[str, Any]] = {}
    for exchange in EXCHANGES:
        live = feed_of(exchange).live
        if live is None:
            continue
        place = f"{HOST}:{ports[exchange]}"
        urls = {}
        for channel in live.channels:
            real = urlsplit(channel.url)
            path = _BEFORE.get(real.hostname or "", "") + real.path
            urls[channel.name] = f"ws://{place}{path}" + (f"?{real.query}" if real.query else "")
        found[exchange] = {"urls": urls, "rest_url": f"http://{place}"}
    return found


def toml_of(exchanges: Mapping[str, Mapping[str, Any]], others: Mapping[str, str] | None = None) -> str:
    """Return the settings as TOML; `others` are plain settings of text."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in (others or {}).items()]
    for exchange, found in exchanges.items():
        lines += ["", f"[exchanges.{exchange}]", f"rest_url = {json.dumps(found['rest_url'])}"]
        lines += ["", f"[exchanges.{exchange}.urls]"]
        lines += [f"{json.dumps(channel)} = {json.dumps(url)}" for channel, url in found["urls"].items()]
    return "\n".join(lines).lstrip("\n") + "\n"


def environment_lines(exchanges: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the settings as environment variables, for a shell."""
    for exchange, found in exchanges.items():
        name = f"LIQUIDATIONS_EXCHANGES__{exchange.upper()}"
        yield f"export {name}__REST_URL={found['rest_url']}"
        yield f"export {name}__URLS='{json.dumps(found['urls'])}'"
