"""What the server asks of each exchange's file: how it talks on a socket, and what its REST endpoints answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from pipeline.embedded.exchange_server.flow import Push
from pipeline.embedded.exchange_server.tape import Tape
from pipeline.embedded.simulator.contracts import Contract
from pipeline.embedded.simulator.truth import Truth

Outgoing = str | bytes
Query = Mapping[str, str]


class Client(Protocol):
    """One socket, as an exchange sees it. `memory` is the exchange's own notes about it."""

    path: str
    query: Query
    number: int
    topics: dict[str, None]
    memory: dict[str, Any]
    heard_ms: int
    said_ms: int
    opened_ms: int

    def say(self, message: Outgoing) -> None:
        """Send an answer that is no acknowledgement: a pong, a greeting, a refusal."""
        ...

    def acknowledge(self, topics: Iterable[str], *messages: Outgoing) -> None:
        """Subscribe to `topics` and send these messages."""
        ...

    def bring(self, message: Outgoing, rows: tuple[Truth, ...] = ()) -> None:
        """Send data, with what is in them."""
        ...

    def unsubscribe(self, topics: Iterable[str], *messages: Outgoing) -> None:
        """End subscriptions and send these messages."""
        ...

    def close(self, why: str, code: int = 1000) -> None:
        """Close the connection in an orderly way."""
        ...


class RestError(Exception):
    """A request that the exchange refuses: HTTP status and answer."""

    def __init__(self, status: int, answer: object) -> None:
        super().__init__(str(answer))
        self.status = status
        self.answer = answer


# From the parameters of path and query to a JSON document.
Endpoint = Callable[[Query], object]


class Venue(ABC):
    """One exchange. `now_ms` gives the time as this exchange's clock shows it."""

    exchange: str
    # Paths of sockets and of REST endpoints, with `{name}` for a part of any text.
    sockets: tuple[str, ...]

    def __init__(self, tape: Tape, now_ms: Callable[[], int]) -> None:
        self.tape = tape
        self.now_ms = now_ms
        self.contracts: dict[str, Contract] = {
            contract.symbol: contract for contract in tape.contracts if contract.exchange == self.exchange
        }

    @abstractmethod
    def endpoints(self) -> Mapping[str, Endpoint]:
        """Return what each path of GET requests answers."""

    @abstractmethod
    def heard(self, client: Client, message: str) -> None:
        """Answer a client's message."""

    @abstractmethod
    def payloads(self, client: Client, push: Push) -> Iterable[Outgoing]:
        """Return the messages in which `client` gets `push`: none if it has not subscribed to it."""

    def opened(self, client: Client) -> None:  # noqa: B027 - most exchanges say nothing first
        """Greet a client."""

    def sent(self, push: Push) -> None:  # noqa: B027 - most exchanges keep no table
        """Take note of a message, whoever listens."""

    def market(self, client: Client, now_ms: int) -> Iterable[Outgoing]:  # noqa: ARG002
        """Return the market data due to `client` in this second."""
        return ()

    def tick(self, client: Client, now_ms: int) -> None:  # noqa: B027 - some never look
        """Look after a connection, once a second."""


def symbol_of(push: Push) -> str:
    """Return the contract that a message is about: the first, where there are several."""
    return push.rows[0].symbol if push.rows else ""


def decimals(value: float) -> str:
    """Return a number as decimal text with about eight significant digits."""
    text = f"{value:.12f}" if abs(value) < 1 else f"{value:.6f}"
    return text.rstrip("0").rstrip(".")
