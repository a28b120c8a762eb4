"""How an exchange is listened to, as plain descriptions and answers. The sockets are in `pipeline/ingest`.

A *channel* is one kind of connection. Its name is on the frames it brings, and coverage speaks of it. A *topic* is one
thing subscribed to on it: a whole market, or one contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pipeline.records import Instrument

# Text is sent as a text message, bytes as a binary one.
Outgoing = str | bytes
Kind = Literal["liquidations", "market"]


@dataclass(frozen=True, slots=True)
class Topic:
    """One subscription. `symbol` is the contract that it brings, None for a whole market."""

    name: str
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the exchange allows, or the more careful habit of its users.

    `connection_age_s` is when the exchange cuts a connection however lively it is; it is replaced before.
    `request_characters` bounds the text of all topics' names on one connection.
    """

    topics_per_connection: int = 1_000
    topics_per_request: int = 100
    request_characters: int | None = None
    requests_per_s: float = 5.0
    connections_per_s: float = 1.0
    connection_age_s: float | None = None
    message_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Heard:
    """What one message means for the connection it came on.

    `data`: it brings what was subscribed to, even if no liquidation is in it. `confirmed` and `refused` name topics
    (a refused one with the exchange's words). `replies` are to be sent back at once. `closing`: the exchange says that
    it will close, and why.
    """

    data: bool = False
    confirmed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    replies: tuple[Outgoing, ...] = ()
    closing: str = ""


class Conversation(Protocol):
    """What is said on one connection, without the socket. One object per connection; it may remember its requests."""

    def open(self) -> Sequence[Outgoing]:
        """Return what is sent first, before any subscription."""
        ...

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:
        """Return the request for `topics`; `number` rises with each request of the connection, from 1."""
        ...

    def ping(self, number: int, time_ms: int) -> Outgoing | None:
        """Return what keeps the connection alive, sent every `ping_every_s`; None where WebSocket pings suffice."""
        ...

    def hear(self, message: bytes) -> Heard:
        """Return what a message means, text as UTF-8. Never raises for outside data: rubbish is a frame and refused."""
        ...


@dataclass(frozen=True, slots=True)
class Channel:
    """One kind of connection.

    `topics(instruments)` lists what to subscribe to: the same for any contracts where a whole market is one topic.
    `silence_s`: a connection that brought no byte for so long, pongs included, is dead. `per_symbol` channels cover
    only the contracts whose topic is confirmed.
    """

    name: str
    url: str
    topics: Callable[[Sequence[Instrument]], Sequence[Topic]]
    begin: Callable[[], Conversation]
    limits: Limits = field(default_factory=Limits)
    kind: Kind = "liquidations"
    ping_every_s: float = 20.0
    silence_s: float = 60.0
    per_symbol: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One GET request. Its answer is a frame of channel `rest:NAME`, whose connection is `COLLECTOR/PATH?QUERY`.

    `weight` is what it takes of its host's budget.
    """

    name: str
    url: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What a host allows from one address: `weight` within `per_s` seconds."""

    weight: float
    per_s: float


@dataclass(frozen=True, slots=True)
class Metadata:
    """Where the contracts are listed.

    `following(request, answer)` returns the request for the next page, None after the last. `read(request, answer)`
    returns the contracts of a page and raises `RefusedError` for what is no such page; a contract of a kind that the
    feed does not serve (spot, options) is left out.
    """

    requests: Sequence[Request]
    read: Callable[[Request, bytes], Sequence[Instrument]]
    following: Callable[[Request, bytes], Request | None] = lambda _request, _answer: None


@dataclass(frozen=True, slots=True)
class Poll:
    """Market data that is asked for: `requests(instruments)` every `every_s`."""

    name: str
    every_s: float
    requests: Callable[[Sequence[Instrument]], Sequence[Request]]


@dataclass(frozen=True, slots=True)
class Clock:
    """The exchange's own time: `read(answer)` returns it in milliseconds since 1970, or raises `RefusedError`."""

    request: Request
    read: Callable[[bytes], int]


@dataclass(frozen=True, slots=True)
class Live:
    """Everything needed to listen to one exchange. `budgets` are by host."""

    channels: tuple[Channel, ...]
    metadata: Metadata | None = None
    polls: tuple[Poll, ...] = ()
    clock: Clock | None = None
    budgets: Mapping[str, Budget] = field(default_factory=dict)
