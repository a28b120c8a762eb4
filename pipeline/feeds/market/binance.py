"""Binance's candles and readings, from streams and from answers to requests.

- Candles of a minute: stream `kline_1m`; all closed ones are kept, of open ones the first in 15 s. On COIN-M `v` counts
  contracts and `q` coins.
- Mark and index price, funding rate: `premiumIndex`, all contracts in one answer; of the stream `markPrice` the first
  in each minute is kept.
- Open interest, one-sided: `openInterest`, coins on USD-M, on COIN-M USD (contracts x contract size);
  `openInterestHist`, coins and USD every five minutes, USD-M only.
- Share of accounts that are long and short: `globalLongShortAccountRatio`.

Source: Binance documentation, `exchange_feeds` 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from pipeline.feeds.market.building import (
    Contracts,
    Prices,
    Thinned,
    Volume,
    amount,
    candle_of,
    reading_of,
    signed,
    truth,
)
from pipeline.feeds.numbers import exact, positive, positive_or_none, shown, time_ms_of, word
from pipeline.feeds.rows import object_of
from pipeline.feeds.sizes import known_contract_size
from pipeline.records import Candle, Frame, Instrument, MarketMetric, Metric, RefusedError

Reading = Candle | MarketMetric

_MINUTE: Final = "1m"
# By the key that only such a row has.
_ANSWERS: Final = ("markPrice", "openInterest", "sumOpenInterest", "longAccount")


def is_answer(message: Mapping[str, Any]) -> bool:
    """Tell a row of an answer that holds readings."""
    return not message.keys().isdisjoint(_ANSWERS)


def of_stream(frame: Frame, message: Mapping[str, Any], contracts: Contracts, thinned: Thinned) -> Iterator[Reading]:
    """Yield what a message of the streams `kline` and `markPrice` holds; another kind of event holds nothing."""
    kind = message.get("e")
    if kind == "kline":
        yield from _candle(frame, object_of("k", message.get("k")), contracts, thinned)
    elif kind == "markPriceUpdate":
        instrument = contracts.named(word("s", message.get("s")))
        time_ms = time_ms_of("E", message.get("E"))
        for metric, value in _prices(message.get("p"), message.get("i"), message.get("r")):
            if thinned.takes_reading(instrument.symbol, metric, time_ms):
                yield reading_of(frame, instrument, metric, value, time_ms)


def of_answer(frame: Frame, row: Mapping[str, Any], contracts: Contracts) -> Iterator[Reading]:
    """Yield what one row of an answer holds.

    An answer for all contracts lists some that the feed does not serve; they are passed over.
    """
    symbol = word("symbol", row.get("symbol"))
    if "markPrice" in row:
        listed = contracts.find(symbol)
        if listed is not None:
            time_ms = time_ms_of("time", row.get("time"))
            for metric, value in _prices(row["markPrice"], row.get("indexPrice"), row.get("lastFundingRate")):
                yield reading_of(frame, listed, metric, value, time_ms)
        return
    instrument = contracts.named(symbol)
    for metric, value, time_ms in _answered(instrument, row):
        yield reading_of(frame, instrument, metric, value, time_ms)


def _answered(instrument: Instrument, row: Mapping[str, Any]) -> Iterator[tuple[Metric, Decimal, int]]:
    if "openInterest" in row:
        time_ms, size = time_ms_of("time", row.get("time")), amount("openInterest", row["openInterest"])
        if instrument.margin == "linear":
            yield "open_interest_base", size, time_ms
        else:
            yield "open_interest_usd", size * exact(known_contract_size(instrument)), time_ms
        return
    time_ms = time_ms_of("timestamp", row.get("timestamp"))
    if "sumOpenInterest" in row:
        # On COIN-M the two count other things.
        if instrument.margin != "linear":
            raise RefusedError("unsupported_margin", "openInterestHist is read for linear contracts only")
        yield "open_interest_base", amount("sumOpenInterest", row["sumOpenInterest"]), time_ms
        yield "open_interest_usd", amount("sumOpenInterestValue", row.get("sumOpenInterestValue")), time_ms
        return
    yield "long_account_share", amount("longAccount", row.get("longAccount")), time_ms
    yield "short_account_share", amount("shortAccount", row.get("shortAccount")), time_ms


def _prices(mark: object, index: object, funding: object) -> Iterator[tuple[Metric, Decimal]]:
    """Yield what is given: a dated contract has no funding, a new one no index yet."""
    yield "mark_price", positive("mark price", mark)
    index_price = positive_or_none("index price", index)
    if index_price is not None:
        yield "index_price", index_price
    if funding not in (None, ""):
        yield "funding_rate", signed("funding rate", funding)


def _candle(frame: Frame, kline: Mapping[str, Any], contracts: Contracts, thinned: Thinned) -> Iterator[Candle]:
    if word("i", kline.get("i")) != _MINUTE:
        return
    instrument = contracts.named(word("s", kline.get("s")))
    closed = truth("x", kline.get("x"))
    if not thinned.takes_candle(instrument.symbol, closed, frame.received_time):
        return
    volume, quote_volume = amount("v", kline.get("v")), amount("q", kline.get("q"))
    bought, bought_quote = amount("V", kline.get("V")), amount("Q", kline.get("Q"))
    if instrument.margin != "linear":
        size = exact(known_contract_size(instrument))
        volume, quote_volume, bought_quote = quote_volume, volume * size, bought * size
    prices = Prices(*(positive(name, kline.get(name)) for name in ("o", "h", "l", "c")))
    traded = Volume(volume, quote_volume, bought_quote, _count(kline.get("n")))
    yield candle_of(frame, instrument, time_ms_of("t", kline.get("t")), prices, traded, closed=closed)


def _count(trades: object) -> int | None:
    if trades is None:
        return None
    if not isinstance(trades, int) or isinstance(trades, bool) or not 0 <= trades < 2**63:
        raise RefusedError("bad_number", f"n is {shown(trades)}, not a number of trades")
    return trades
