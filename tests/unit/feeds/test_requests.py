"""What every feed asks over REST: within the budget of its hosts, and quiet in the log of events."""

from __future__ import annotations

import pytest
from yarl import URL

from pipeline.feeds import Mapping
from pipeline.feeds.discovery import all_feeds
from pipeline.records import Frame, Instrument

LIVES = {name: feed.live for name, feed in all_feeds().items() if feed.live is not None}
CONTRACTS = [
    ("BTCUSDT", "linear"),
    ("BTCUSD", "inverse"),
    ("BTCUSD_PERP", "inverse"),
    ("BTC-USDT-SWAP", "linear"),
]


def instruments(exchange):
    return [
        Instrument(exchange, symbol, "BTC-USDT-PERP", "BTC", "USDT", "USDT", margin, None, 1.0)
        for symbol, margin in CONTRACTS
    ]


def requests_of(exchange):
    live = LIVES[exchange]
    found = list(live.metadata.requests) if live.metadata else []
    found += [live.clock.request] if live.clock else []
    for poll in live.polls:
        found += poll.requests(instruments(exchange))
    return found


@pytest.mark.parametrize("exchange", sorted(LIVES))
def test_every_request_goes_to_a_host_whose_budget_is_known_and_holds_it(exchange):
    budgets = LIVES[exchange].budgets
    for request in requests_of(exchange):
        url = URL(request.url, encoded=True)
        assert url.scheme == "https", request
        assert url.host in budgets, request
        assert 0 < request.weight <= 0.8 * budgets[url.host].weight, request


@pytest.mark.parametrize("exchange", sorted(LIVES))
def test_lists_of_contracts_and_server_times_are_no_events_and_no_refusals(exchange):
    live = LIVES[exchange]
    requests = list(live.metadata.requests) if live.metadata else []
    requests += [live.clock.request] if live.clock else []
    mapping = Mapping({})
    for request in requests:
        for payload in (b"[]", b"{}", b'{"result": {"list": []}, "data": [], "contracts": []}', b"<html>"):
            frame = Frame(exchange, f"rest:{request.name}", "one/path", 1, 1_700_000_000_000_000, payload)
            assert list(mapping.map(frame)) == [], (request.name, payload)
