"""Run a worker that loses some of its fetched batches before the agent sees them, as a rebalance can.

The settings come from the environment as for the product. Which batches of events are lost is drawn with a fixed seed;
from the hundredth fetch on none is. Of the pulses the second batch is lost. Those at the end of a topic are never lost:
only what comes after a loss shows it.
"""

from __future__ import annotations

import random

from pipeline.codec import Codec
from pipeline.logs import configure_logs
from pipeline.settings import read_settings
from pipeline.topics import PULSES, topic_name
from pipeline.worker import transport
from pipeline.worker.application import run_worker

SHARE_LOST = 0.2
FORGETFUL_FETCHES = 100
LOST_BEFORE_OFFSET = 1_000


class Forgetful(transport.Consumer):
    """A consumer that has read a batch, and does not hand it on."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._chance = random.Random(5)
        self._fetches = 0
        self._fetches_of_pulses = 0

    async def _getmany(self, active_partitions, timeout):  # noqa: ASYNC109
        fetched = await super()._getmany(active_partitions, timeout)
        self._fetches += bool(fetched)
        return {partition: batches for partition, batches in fetched.items() if not self._forgets(batches[0])}

    def _forgets(self, batch):
        if batch.topic == PULSES_TOPIC:
            self._fetches_of_pulses += 1
            return self._fetches_of_pulses == 2
        lost = self._chance.random() < SHARE_LOST and self._fetches <= FORGETFUL_FETCHES
        return lost and batch.offset < LOST_BEFORE_OFFSET


transport.Transport.Consumer = Forgetful
settings = read_settings()
PULSES_TOPIC = topic_name(PULSES, settings.topic_prefix)
configure_logs(settings)
run_worker(settings, Codec())
