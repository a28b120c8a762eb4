"""The whole pipeline against the exchanges on loopback: what was sent to somebody is there once, the rest uncovered."""

from __future__ import annotations

import signal
import time
from dataclasses import replace

import pytest
from live_rig import live_rig

from pipeline.embedded.exchange_server import Fault, Play

pytestmark = [pytest.mark.faults, pytest.mark.timeout(420)]

BUSY = Play(seed=5, speed=60.0, hours=2.0, traps_per_hour=600.0)


def stop(ingest) -> None:
    ingest.send_signal(signal.SIGTERM)
    assert ingest.wait(30) == 0, ingest.rig_log.read_text()[-2000:]


def test_all_that_was_sent_is_there_once(broker, tmp_path, topic_prefix):
    with live_rig(broker, tmp_path / "live", topic_prefix, BUSY) as live:
        ingest = live.start_ingest()
        live.wait_for_topics()
        time.sleep(20)
        stop(ingest)
        time.sleep(3)
        live.check()


def test_contracts_are_listed_late(tansu, tmp_path, topic_prefix):
    unlisted = replace(BUSY, faults=(Fault("5xx", "*", 0.0, 6.0),))
    with live_rig(tansu, tmp_path / "live", topic_prefix, unlisted) as live:
        ingest = live.start_ingest()
        live.wait_for_topics()
        time.sleep(8)
        stop(ingest)
        live.check()


def test_ingest_is_killed_and_comes_back(tansu, tmp_path, topic_prefix):
    with live_rig(tansu, tmp_path / "live", topic_prefix, BUSY) as live:
        ingest = live.start_ingest()
        live.wait_for_topics()
        time.sleep(8)
        live.kill(ingest)
        time.sleep(4)
        ingest = live.start_ingest()
        live.wait_for_topics()
        time.sleep(8)
        stop(ingest)
        live.check()


def test_the_network_goes_and_comes_back(tansu, tmp_path, topic_prefix):
    with live_rig(tansu, tmp_path / "live", topic_prefix, BUSY) as live:
        ingest = live.start_ingest()
        live.wait_for_topics()
        server = live.exchanges.server
        for fault in (Fault("snapshot", "okx"), Fault("snapshot", "htx"), Fault("wrong-json", "gate", 0, 5.0)):
            live.exchanges.call(lambda fault=fault: server.switch_on(fault))
        time.sleep(5)
        live.exchanges.call(lambda: server.switch_on(Fault("drop", "*", 0, 3.0)))
        time.sleep(8)
        live.exchanges.call(lambda: server.switch_on(Fault("half-frame", "*")))
        time.sleep(8)
        live.exchanges.call(lambda: server.switch_on(Fault("flood", "deribit", 0, 3.0)))
        time.sleep(6)
        stop(ingest)
        live.check()


def test_the_broker_is_killed_and_comes_back(own_kafka, tmp_path, topic_prefix):
    kafka = own_kafka()
    with live_rig(kafka.bootstrap_servers, tmp_path / "live", topic_prefix, BUSY) as live:
        ingest = live.start_ingest()
        live.wait_for_topics()
        time.sleep(8)
        kafka.kill()
        time.sleep(6)
        kafka.start()
        time.sleep(20)
        stop(ingest)
        live.check()
