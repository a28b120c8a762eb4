"""What holds for the live side of every exchange."""

from urllib.parse import urlsplit

import pytest

from pipeline.feeds import all_feeds
from pipeline.records import Instrument

FEEDS = sorted(all_feeds())


def live_of(exchange):
    return all_feeds()[exchange].live


def contracts_of(exchange):
    """Contracts of all kinds, named as nobody names them."""
    return [
        Instrument(exchange, f"{asset}{quote}{expiry}", "X", asset, quote, quote, margin, expiry, 1.0)
        for asset in ("BTC", "ETH")
        for quote, margin in (("USDT", "linear"), ("USDC", "linear"), ("USD", "inverse"))
        for expiry in (None, "2026-12-25")
    ]


@pytest.mark.parametrize("exchange", FEEDS)
def test_connections_are_encrypted_and_channels_have_names_of_their_own(exchange):
    live = live_of(exchange)
    assert all(urlsplit(channel.url).scheme == "wss" for channel in live.channels)
    names = [channel.name for channel in live.channels]
    assert len(set(names)) == len(names)
    assert any(channel.kind == "liquidations" for channel in live.channels)


@pytest.mark.parametrize("exchange", FEEDS)
def test_every_request_goes_to_a_host_with_a_budget_that_can_bear_it(exchange):
    live = live_of(exchange)
    requests = [*live.metadata.requests, *((live.clock.request,) if live.clock else ())]
    requests += [request for poll in live.polls for request in poll.requests(contracts_of(exchange))]
    for request in requests:
        address = urlsplit(request.url)
        assert address.scheme == "https"
        assert 0 < request.weight <= live.budgets[address.hostname].weight, request.name


@pytest.mark.parametrize("exchange", FEEDS)
def test_readings_and_what_the_collector_reads_itself_have_different_names(exchange):
    """A frame's channel is `rest:NAME`, and the mapping passes over those of contracts and time."""
    live = live_of(exchange)
    own = {request.name for request in live.metadata.requests} | ({live.clock.request.name} if live.clock else set())
    asked = {request.name for poll in live.polls for request in poll.requests(contracts_of(exchange))}
    assert not own & asked


@pytest.mark.parametrize("exchange", FEEDS)
def test_topics_are_of_contracts_where_coverage_is(exchange):
    contracts = contracts_of(exchange)
    for channel in live_of(exchange).channels:
        topics = channel.topics(contracts)
        assert len({topic.name for topic in topics}) == len(topics)
        if channel.per_symbol:
            assert {topic.symbol for topic in topics} <= {one.symbol for one in contracts}


@pytest.mark.parametrize("exchange", FEEDS)
def test_a_lost_answer_does_not_end_a_connection(exchange):
    for channel in live_of(exchange).channels:
        assert channel.silence_s >= 2 * channel.ping_every_s, channel.name


@pytest.mark.parametrize("exchange", FEEDS)
def test_nothing_that_may_be_heard_raises(exchange):
    for channel in live_of(exchange).channels:
        conversation = channel.begin()
        topics = channel.topics(contracts_of(exchange))[: channel.limits.topics_per_request]
        if topics:
            conversation.subscribe(topics, 1)
        for message in (b"", b"pong", b"null", b"[]", b"{}", b"7", b"\xff\x00", b"[" * 20_000, b'{"id":{},"event":[]}'):
            conversation.hear(message)
