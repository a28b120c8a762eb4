"""How topics are spread over connections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from math import inf

from pipeline.feeds.live import Limits, Topic


def place(held: Sequence[Sequence[Topic]], topics: Iterable[Topic], limits: Limits) -> list[list[Topic]]:
    """Return which of `topics` to add to which connection: for those that are there, then for new ones.

    `held` are the topics that each connection has. No connection gets more topics, or more characters in their names,
    than `limits` allow, unless a single name is longer than that.
    """
    numbers = [len(topics_of_one) for topics_of_one in held]
    characters = [sum(len(topic.name) for topic in topics_of_one) for topics_of_one in held]
    added: list[list[Topic]] = [[] for _ in held]
    most = inf if limits.request_characters is None else limits.request_characters
    for topic in topics:
        for index in count():
            if index == len(added):
                added.append([])
                numbers.append(0)
                characters.append(0)
            fits = numbers[index] < limits.topics_per_connection and characters[index] + len(topic.name) <= most
            if fits or not numbers[index]:
                added[index].append(topic)
                numbers[index] += 1
                characters[index] += len(topic.name)
                break
    return added
