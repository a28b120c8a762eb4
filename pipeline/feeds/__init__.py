"""One pure file per exchange: where to connect, how to subscribe, and how a frame becomes events."""

from pipeline.feeds.discovery import all_archives, all_feeds, archive_of, feed_of
from pipeline.feeds.mapping import Mapping, map_frame

__all__ = ["Mapping", "all_archives", "all_feeds", "archive_of", "feed_of", "map_frame"]
