"""How Bitfinex is listened to: one status channel with the liquidations of all its markets.

Source: Bitfinex documentation (WebSocket general, public status; REST public configs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from pipeline.feeds.conversations.payloads import object_in, text_in
from pipeline.feeds.live import Budget, Channel, Heard, Limits, Live, Metadata, Outgoing, Request, Topic
from pipeline.feeds.naming import Multiplied, Names
from pipeline.feeds.numbers import shown
from pipeline.feeds.rows import json_of, list_of
from pipeline.records import Instrument, RefusedError

EXCHANGE: Final = "bitfinex"
KEY: Final = "liq:global"
# How derivatives' currencies end: `tBTCF0:USTF0`. All others are margin trading of spot.
DERIVATIVE: Final = "F0"

# The exchange's own names of coins (its `pub:map:currency:sym`), for recordings without metadata.
RENAMED: Final[Multiplied] = {
    "ALG": ("ALGO", 1),
    "AMP": ("AMPL", 1),
    "ATO": ("ATOM", 1),
    "DSH": ("DASH", 1),
    "EUT": ("EURT", 1),
    "IOT": ("IOTA", 1),
    "MNA": ("MANA", 1),
}
# Quote currencies that count as USD. A contract quoted in a coin (`tETHF0:BTCF0`) would need another price.
QUOTES: Final[Mapping[str, str]] = {"UST": "USDT"}
NAMES: Final = Names(EXCHANGE, RENAMED)

_HOST: Final = "api-pub.bitfinex.com"
_LISTS: Final = ("pub:list:pair:futures", "pub:map:currency:sym", "pub:map:currency:undl")
# Flags of `conf`: every message carries the server's time (32768) and a number (65536).
_TIMES_AND_NUMBERS: Final = 32768 + 65536
# Notices after which the connection brings nothing more: the server restarts, maintenance begins, or has ended.
_CLOSING: Final[Mapping[object, str]] = {
    20051: "the server restarts",
    20060: "maintenance begins",
    20061: "maintenance has ended: subscribe anew",
}


class _Conversation:
    """Subscriptions are confirmed by key; data comes as lists."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    def open(self) -> Sequence[Outgoing]:
        return (orjson.dumps({"event": "conf", "flags": _TIMES_AND_NUMBERS}).decode(),)

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:  # noqa: ARG002 - requests have no number
        (topic,) = topics
        self._asked.add(topic.name)
        return orjson.dumps({"event": "subscribe", "channel": "status", "key": topic.name}).decode()

    def ping(self, number: int, time_ms: int) -> Outgoing | None:  # noqa: ARG002 - a ping holds a number only
        return orjson.dumps({"event": "ping", "cid": number}).decode()

    def hear(self, message: bytes) -> Heard:
        if message.startswith(b"["):
            return Heard(data=_is_data(message))
        said = object_in(message)
        kind, key = said.get("event"), text_in(said.get("key"))
        if kind == "subscribed":
            self._asked.discard(key)
            return Heard(confirmed=(key,)) if key else Heard()
        if kind == "error":
            words = f"{said.get('code')} {text_in(said.get('msg'))}".strip()
            refused = (key,) if key else tuple(sorted(self._asked))
            self._asked.difference_update(refused)
            return Heard(refused=tuple((topic, words) for topic in refused))
        if kind == "info" and isinstance(code := said.get("code"), int):
            return Heard(closing=_CLOSING.get(code, ""))
        return Heard()


def _is_data(message: bytes) -> bool:
    try:
        document = orjson.loads(message)
    except orjson.JSONDecodeError:
        return False
    # A heartbeat is [channel, "hb"], data [channel, rows], with time and number behind.
    return isinstance(document, list) and len(document) > 1 and isinstance(document[1], list)


def _read_pairs(request: Request, answer: bytes) -> Sequence[Instrument]:  # noqa: ARG001 - one page
    page = list_of("answer", json_of(answer))
    if len(page) != len(_LISTS):
        raise RefusedError("unexpected_message", f"{len(page)} lists instead of {len(_LISTS)}: {shown(page)}")
    pairs, symbols, underlyings = (list_of(name, part) for name, part in zip(_LISTS, page, strict=True))
    names, coins = _pairs_of("pub:map:currency:sym", symbols), _pairs_of("pub:map:currency:undl", underlyings)
    found = (_perpetual(pair, names, coins) for pair in pairs if isinstance(pair, str))
    return [contract for contract in found if contract is not None]


def _pairs_of(name: str, entries: Sequence[Any]) -> dict[str, str]:
    found = {}
    for entry in entries:
        match entry:
            case [str(short), str(full)]:
                found[short] = full
            case _:
                raise RefusedError("unexpected_message", f"{name} holds {shown(entry)}, not two names")
    return found


def _perpetual(pair: str, names: Mapping[str, str], coins: Mapping[str, str]) -> Instrument | None:
    base, _, quote = pair.partition(":")
    code = coins.get(base, base.removesuffix(DERIVATIVE))
    quoted = QUOTES.get(coins.get(quote, quote.removesuffix(DERIVATIVE)))
    if quoted is None:
        return None
    coin = names.get(code, code).upper()
    return NAMES.perpetual(f"t{pair}", coin if coin.isalnum() else code, quoted, "linear")


def _topics(instruments: Sequence[Instrument]) -> Sequence[Topic]:  # noqa: ARG001 - one topic is all markets
    return (Topic(KEY),)


LIVE: Final = Live(
    channels=(
        Channel(
            name="status",
            url=f"wss://{_HOST}/ws/2",
            topics=_topics,
            begin=_Conversation,
            # 25 channels per connection, 20 new connections a minute.
            limits=Limits(topics_per_connection=25, topics_per_request=1, connections_per_s=0.3),
            # Heartbeats come every 15 s.
            ping_every_s=20.0,
            silence_s=60.0,
        ),
    ),
    metadata=Metadata((Request("conf", f"https://{_HOST}/v2/conf/{','.join(_LISTS)}"),), _read_pairs),
    budgets={_HOST: Budget(weight=30, per_s=60)},
)
