"""Everything that is heard of one exchange, and what the collector says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import Final

import aiohttp
import structlog
from aiohttp import ClientWSTimeout

from pipeline.feeds.feed import Mapped
from pipeline.feeds.live import Channel, Live
from pipeline.feeds.statements import (
    INSTRUMENTS,
    STATEMENTS,
    instruments_connection,
    instruments_payloads,
    nothing_known_payload,
    statements_connection,
    statements_payload,
)
from pipeline.ingest.connection import Counts, Line, Patience
from pipeline.ingest.intake import Intake
from pipeline.ingest.listening import Listening, Said
from pipeline.ingest.pacing import Pace
from pipeline.records import DeadLetter, Instrument, Liquidation
from pipeline.settings import Settings

_log = structlog.get_logger()

_GOODBYE_S: Final = 2.0
# Refusals that newer metadata may cure.
_UNKNOWN: Final = ("unknown_symbol", "unknown_contract_size")


@dataclass(frozen=True, slots=True)
class Choice:
    """What to collect.

    `symbols` (or instruments, or assets) are those whose market data are wanted; none means those with liquidations.
    """

    market_data: bool = True
    symbols: frozenset[str] = frozenset()

    def names(self, instrument: Instrument) -> bool:
        """Tell whether the list names this contract."""
        return not self.symbols.isdisjoint((instrument.symbol, instrument.instrument, instrument.asset))


class ExchangeCollector:
    """Listen to the channels of one exchange and say what is covered."""

    def __init__(
        self,
        exchange: str,
        live: Live,
        choice: Choice,
        settings: Settings,
        intake: Intake,
        session: aiohttp.ClientSession,
        random: Random,
    ) -> None:
        self.exchange = exchange
        self.clock_offset_ms: int | None = None
        self.events = 0
        self.refusals = 0
        self.unknown_symbol = asyncio.Event()
        self._live = live
        self._choice = choice
        self._settings = settings
        self._intake = intake
        self._session = session
        self._instruments: Mapping[str, Instrument] = {}
        # Contracts with liquidations since the start, whose market data are wanted.
        self._liquidated: set[str] = set()
        self._chosen: frozenset[str] | None = None
        self._connection = statements_connection(settings.collector)
        pace = Pace(min(channel.limits.connections_per_s for channel in live.channels))
        self._listenings = [
            Listening(
                self._line(channel, pace),
                settings.collector,
                settings,
                intake,
                random,
                self._say,
                # A contract's topic is known from the list, and so is all that it brings.
                needs_list=live.metadata is not None and not channel.per_symbol,
            )
            for channel in live.channels
            if choice.market_data or channel.kind != "market"
        ]

    @property
    def listenings(self) -> Sequence[Listening]:
        """Return the channels that are listened to."""
        return self._listenings

    def know(self, instruments: Mapping[str, Instrument], is_whole: bool = True) -> None:
        """Take the contracts that the exchange lists now, by symbol, and listen to them.

        `is_whole`: the list was read to its end at least once, so that whole markets can be mapped.
        """
        self._instruments = instruments
        self._liquidated &= instruments.keys()
        every = list(instruments.values())
        for listening in self._listenings:
            if listening.channel.kind == "liquidations":
                listening.want(every)
        self._chosen = None
        self.choose()
        if is_whole:
            since_ms = self._intake.next_ms()
            for listening in self._listenings:
                listening.understand(since_ms)

    def choose(self) -> None:
        """Listen to the market data of the contracts that are to have them by now."""
        instruments = self.market_instruments()
        chosen = frozenset(instrument.symbol for instrument in instruments)
        if chosen == self._chosen:
            return
        self._chosen = chosen
        for listening in self._listenings:
            if listening.channel.kind == "market":
                listening.want(instruments)

    def market_instruments(self) -> list[Instrument]:
        """Return the contracts whose market data are wanted."""
        if self._choice.symbols:
            return [one for one in self._instruments.values() if self._choice.names(one)]
        return [one for symbol in sorted(self._liquidated) if (one := self._instruments.get(symbol)) is not None]

    def observe(self, mapped: Mapped) -> None:
        """Hear what became of the exchange's frames."""
        if isinstance(mapped, DeadLetter):
            self.refusals += 1
            if mapped.reason in _UNKNOWN:
                self.unknown_symbol.set()
        elif isinstance(mapped, Liquidation):
            self.events += 1
            symbol = mapped.symbol
            if symbol not in self._liquidated:
                if symbol in self._instruments:
                    self._liquidated.add(symbol)
                elif self._live.metadata is not None:
                    # A listing that is newer than what is known.
                    self.unknown_symbol.set()

    def note_offset(self, offset_ms: int | None) -> None:
        """Take the exchange's clock minus ours, None if it is not known."""
        self.clock_offset_ms = offset_ms

    def tick(self) -> None:
        """Say the heartbeats of all channels. Call it once a second."""
        self.choose()
        now_ms = self._intake.now_ms()
        self._state(listening.look(now_ms, self.clock_offset_ms) for listening in self._listenings)

    def repeat(self, since_ms: int) -> None:
        """Say all contracts and subscriptions again, so that who reads from `since_ms` on knows them."""
        for payload in instruments_payloads(list(self._instruments.values())):
            self._bring_instruments(payload)
        subscriptions = [one for listening in self._listenings for one in listening.repeat(since_ms)]
        if subscriptions:
            self._bring(statements_payload((), subscriptions))

    def counts(self) -> dict[str, int]:
        """Return what happened since the start, summed over the channels."""
        words = [field.name for field in fields(Counts) if field.name != "last_data_us"]
        return {word: sum(getattr(listening.counts, word) for listening in self._listenings) for word in words}

    def lose(self, kept_ms: int) -> None:
        """Say that nothing is heard after `kept_ms`: frames are lost on their way."""
        for listening in self._listenings:
            listening.lose(kept_ms)

    def regain(self, since_ms: int) -> None:
        """Say that frames are kept since `since_ms`."""
        for listening in self._listenings:
            listening.regain(since_ms)

    async def run(self) -> None:
        """Listen until cancelled. A fault of our own is raised."""
        # A replay over our beginning must not map with what an earlier process knew.
        self._bring_instruments(nothing_known_payload())
        # Whole markets are heard before the list of contracts is there: what is refused until then can be read later.
        for listening in self._listenings:
            if not listening.channel.per_symbol:
                listening.want(())
        async with asyncio.TaskGroup() as group:
            for listening in self._listenings:
                group.create_task(listening.run())

    def _say(self, listening: Listening) -> None:
        self._state((listening.look(self._intake.now_ms(), self.clock_offset_ms),))

    def _state(self, said: Iterable[Said]) -> None:
        every = list(said)
        heartbeats = [beat for one in every for beat in one.heartbeats]
        subscriptions = [subscription for one in every for subscription in one.subscriptions]
        # In this order: a heartbeat moves the clock, and what it must not pass by stands before it.
        if subscriptions:
            self._bring(statements_payload((), subscriptions))
        if heartbeats:
            self._bring(statements_payload(heartbeats))

    def _bring(self, payload: bytes) -> None:
        self._intake.bring(self.exchange, STATEMENTS, self._connection, payload)

    def _bring_instruments(self, payload: bytes) -> None:
        self._intake.bring(self.exchange, INSTRUMENTS, instruments_connection(self._settings.collector), payload)

    def _line(self, channel: Channel, pace: Pace) -> Line:
        settings = self._settings
        reached = settings.exchange(self.exchange)
        url = reached.url_of(channel.name, channel.url)

        async def connect() -> aiohttp.ClientWebSocketResponse[bool]:
            return await self._session.ws_connect(
                url,
                proxy=reached.proxy,
                # Pings and pongs are signs of life, so they must be seen.
                autoping=False,
                decode_text=False,
                max_msg_size=channel.limits.message_bytes,
                timeout=ClientWSTimeout(ws_close=_GOODBYE_S),
            )

        patience = Patience(settings.proof_interval_s, settings.stall_s, settings.confirm_s, settings.refused_again_s)
        return Line(self.exchange, channel, url, patience, pace, connect)
