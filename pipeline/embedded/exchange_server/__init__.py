"""Exchanges on loopback, in their own protocols: what a collector can be tried against, faults included.

Nothing here is shared with `pipeline.feeds` or `pipeline.ingest`: it is written from the exchanges' documentation, so
that it can prove them wrong.
"""

from pipeline.embedded.exchange_server.faults import KINDS, Fault, fault_of
from pipeline.embedded.exchange_server.flow import EXCHANGES
from pipeline.embedded.exchange_server.ledger import ServedLedger, read_ledger
from pipeline.embedded.exchange_server.server import ExchangeServer, Play

__all__ = ["EXCHANGES", "KINDS", "ExchangeServer", "Fault", "Play", "ServedLedger", "fault_of", "read_ledger"]
