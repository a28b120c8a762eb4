"""The exchanges that the server plays, one file each, written from their documentation and not from our own feeds."""

from pipeline.embedded.exchange_server.venue import Venue
from pipeline.embedded.exchange_server.venues.binance import Binance
from pipeline.embedded.exchange_server.venues.bitmex import Bitmex
from pipeline.embedded.exchange_server.venues.bybit import Bybit
from pipeline.embedded.exchange_server.venues.deribit import Deribit
from pipeline.embedded.exchange_server.venues.gate import Gate
from pipeline.embedded.exchange_server.venues.htx import Htx
from pipeline.embedded.exchange_server.venues.okx import Okx

VENUES: tuple[type[Venue], ...] = (Binance, Bybit, Okx, Bitmex, Htx, Gate, Deribit)

__all__ = ["VENUES"]
