"""Which exchanges and archive formats there are.

A new exchange is a new file here with a `FEED`, a new archive format a new file in `archives/` with an `ARCHIVE`;
neither is entered anywhere else.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType

from pipeline import feeds
from pipeline.feeds import archives
from pipeline.feeds.feed import Archive, Feed
from pipeline.records import RefusedError


@cache
def all_feeds() -> Mapping[str, Feed]:
    """Return every exchange's feed, by exchange."""
    found = (getattr(module, "FEED", None) for module in _modules(feeds))
    return {feed.exchange: feed for feed in found if isinstance(feed, Feed)}


@cache
def all_archives() -> Mapping[str, Archive]:
    """Return every archive format, by name."""
    found = (getattr(module, "ARCHIVE", None) for module in _modules(archives))
    return {archive.name: archive for archive in found if isinstance(archive, Archive)}


def feed_of(exchange: str) -> Feed:
    """Return the feed of `exchange`, or refuse the name with those that are known."""
    found = all_feeds().get(exchange)
    if found is None:
        raise RefusedError("unknown_exchange", f"no exchange {exchange!r}; known are {', '.join(sorted(all_feeds()))}")
    return found


def archive_of(name: str) -> Archive:
    """Return the archive format of that name, or refuse the name with those that are known."""
    found = all_archives().get(name)
    if found is None:
        raise RefusedError(
            "unknown_archive", f"no archive format {name!r}; known are {', '.join(sorted(all_archives()))}"
        )
    return found


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for module in pkgutil.iter_modules(package.__path__):
        if not module.ispkg:
            yield importlib.import_module(f"{package.__name__}.{module.name}")
