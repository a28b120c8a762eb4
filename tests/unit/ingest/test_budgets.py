"""Each request that a feed makes fits into what the limiter allows of its host's budget."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from pipeline.feeds.discovery import all_feeds
from pipeline.ingest.limiter import HostLimits

LIVES = {name: feed.live for name, feed in all_feeds().items() if feed.live is not None}


@pytest.mark.parametrize("exchange", LIVES)
def test_requests_fit_into_their_hosts_budget(exchange):
    live = LIVES[exchange]
    requests = [*(live.metadata.requests if live.metadata else ()), *([live.clock.request] if live.clock else ())]

    async def ask(request) -> None:
        limits = HostLimits()
        limits.know(live.budgets)
        await limits.turn(urlsplit(request.url).hostname, request.weight)

    for request in requests:
        asyncio.run(ask(request))
