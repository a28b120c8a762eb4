"""The variables of every dashboard. They have the same names everywhere, so that links carry them on."""

from __future__ import annotations

from typing import Final

from pipeline.grafana.sql import ASSET, EXCHANGE, SYMBOL
from pipeline.grafana.variable import Choice, Listed, Typed

_LARGEST_ASSET = """
SELECT asset
FROM bars_1m
WHERE $__timeFilter_ms(start)
GROUP BY asset
ORDER BY sum(long_usd + short_usd) DESC, asset
LIMIT 5000
"""

ASSETS: Final = Listed("asset", "Asset", _LARGEST_ASSET)
# Prices of one asset only can share an axis.
ONE_ASSET: Final = Listed("asset", "Asset", _LARGEST_ASSET, many=False)
EXCHANGES: Final = Listed(
    "exchange", "Exchange", "SELECT DISTINCT exchange FROM coverage WHERE $__timeFilter_ms(start) ORDER BY exchange"
)
SYMBOLS: Final = Listed(
    "symbol",
    "Contract",
    f"SELECT DISTINCT symbol FROM bars_1m WHERE $__timeFilter_ms(start) AND {ASSET} AND {EXCHANGE} ORDER BY "
    f"symbol LIMIT 5000",
)
INTERVAL: Final = Choice(
    "interval",
    "Bars of",
    (
        ("0", "what suits"),
        ("60", "1 minute"),
        ("300", "5 minutes"),
        ("900", "15 minutes"),
        ("3600", "1 hour"),
        ("14400", "4 hours"),
        ("86400", "1 day"),
    ),
)
MODE: Final = Choice("mode", "Show", (("usd", "Volume in USD"), ("count", "Number of liquidations")))
LEAST: Final = Typed("min_value", "At least USD", "0")
POSITIONS: Final = Choice("position", "Position", (("long", "longs"), ("short", "shorts")), many=True)
KINDS: Final = Choice(
    "kind",
    "Rule",
    tuple(
        (kind, kind.replace("_", " "))
        for kind in ("surge", "rolling_threshold", "cascade", "quiet", "ratio", "silent_channel")
    ),
    many=True,
)
LEAST_LEVEL: Final = Choice(
    "level", "At least", (("0", "all"), ("1", "warnings"), ("2", "critical ones"), ("3", "what pages a person"))
)
ONE_ANOMALY: Final = Typed("anomaly", "Events of", "")
# Part of titles: what a sum over the chosen feeds is.
BOUND: Final = Listed(
    "bound",
    "Bound",
    f"""
SELECT multiIf(count() = 0, 'nothing seen', countIf(completeness != 'full') > 0, 'lower bound', 'complete feeds')
FROM bars_1m
WHERE $__timeFilter_ms(start) AND {ASSET} AND {EXCHANGE} AND {SYMBOL}
""",
    many=False,
    hidden=True,
)

OF_MANY: Final = (ASSETS, EXCHANGES, SYMBOLS, INTERVAL, MODE, LEAST, POSITIONS, BOUND)
OF_ONE: Final = (ONE_ASSET, EXCHANGES, SYMBOLS, INTERVAL, MODE, LEAST, POSITIONS, BOUND)
