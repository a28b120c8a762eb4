"""Exchanges without a feed here, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Unserved(NamedTuple):
    """Why an exchange is not served, and the name of the source."""

    reason: str
    evidence: str


_OWN_ACCOUNT: Final = "No public feed: liquidations are shown to the account concerned only."

UNSERVED: Final[Mapping[str, Unserved]] = {
    "bingx": Unserved(_OWN_ACCOUNT, "BingX documentation"),
    "hyperliquid": Unserved(
        "No feed of the market. `userEvents` and `userFills` name liquidations of a given account, and show them at the"
        " liquidator's, too; the side in recorded tables is the same in all rows.",
        "Hyperliquid documentation; recorded messages and tables",
    ),
    "kucoin": Unserved(_OWN_ACCOUNT, "KuCoin documentation"),
    "mexc": Unserved(_OWN_ACCOUNT, "MEXC documentation"),
    "orderly": Unserved(
        "A public topic `liquidation` exists with a signed `positionQty`, but without a price.",
        "Orderly documentation",
    ),
    "phemex": Unserved(_OWN_ACCOUNT, "Phemex documentation"),
}
