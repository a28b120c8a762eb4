"""Previews: the tables tell the log, and other rules find in it what a worker with them would have found."""

# ruff: noqa: S608 - a test names a database of its own

from __future__ import annotations

import json
from datetime import UTC, datetime
from random import Random

import pytest
from click.testing import CliRunner
from event_logs import CHANNELS, CONTRACTS, heartbeat, liquidation, run, subscription
from unit.warehouse.rows import DAY, MINUTE, anomaly, store

from pipeline.cli import commands
from pipeline.codec import Codec
from pipeline.detect.market.market import Market
from pipeline.detect.rules import Rules, read_rules
from pipeline.embedded.preview import Asked, PreviewError, Recorded, look_back_ms, run_preview, scratch_name
from pipeline.warehouse.client import WarehouseError, connect
from pipeline.warehouse.databases import Databases
from pipeline.warehouse.migrate import migrate
from pipeline.windows.parameters import WindowParameters

HOUR = 60 * MINUTE
PARAMETERS = WindowParameters()
RULES = read_rules("[rolling_threshold]\nbase_usd = 50_000\nspan_s = 600\ncalm_s = 60\nmemory_s = 600\n")
EVERYTHING = Asked()


def market_log():
    """Four hours on three exchanges, one of which is away for twenty minutes; some events come late or twice."""
    rng, log, number = Random(5), [subscription(DAY)], 0
    for second in range(0, 4 * 3600, 2):
        now = DAY + second * 1_000
        busy = 40 if 5_000 < second < 6_000 or 11_000 < second < 11_500 else 1
        for contract in CONTRACTS:
            if contract[0] == "okx" and 7_000 < second < 8_200:
                continue
            for _ in range(sum(rng.random() < busy * 0.004 for _ in range(3))):
                number += 1
                late_ms = rng.choice((300, 900, 1_500, 70_000))
                event = liquidation(
                    number,
                    now - late_ms,
                    contract,
                    rng.choice(("long", "short")),
                    round(rng.lognormvariate(9, 1.5) * 1e6),
                )
                log += [replaced(event, now), *([replaced(event, now)] if rng.random() < 0.02 else [])]
        for channel in CHANNELS:
            if not (channel[0] == "okx" and 7_000 < second < 8_200):
                log.append(heartbeat(now + 1_000, channel, frames=rng.randrange(3)))
    return log


def replaced(event, read_ms):
    fields = {name: getattr(event, name) for name in type(event).__slots__}
    return type(event)(**{**fields, "received_time": read_ms * 1_000})


LOG = market_log()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("preview")


@pytest.fixture(scope="module")
def client(folder):
    made = connect(f"chdb://{folder}/clickhouse")
    migrate(made)
    assert store(made, Codec(), LOG) == []
    yield made
    made.close()


def preview(client, asked=EVERYTHING, reached=None, **options):
    said = [] if reached is None else reached
    return run_preview(Recorded(f"chdb://{client.path}"), RULES, Rules(), PARAMETERS, asked, said.append, **options)


def databases(client):
    return {name for (name,) in client.query("SHOW DATABASES").result_rows if name.startswith("preview_")}


@pytest.fixture(scope="module")
def live():
    """What a worker with these rules finds in the log as it was."""
    published, _ = run(LOG, parameters=PARAMETERS, rules=RULES)
    market = Market(RULES, partitions=1)
    market.take_pulses(published.pulses, len(published.pulses))
    found = [*published.latest().anomalies.values(), *market.take().anomalies]
    assert {one.scope for one in found} >= {"asset", "market"}
    return found


def test_what_a_worker_would_have_found_is_found(client, live):
    found = preview(client, keep=True)
    name = scratch_name(RULES).name
    assert found.database == name
    columns = (
        "anomaly_id, kind, scope, asset, position, level, value, threshold, coverage, completeness, degraded, state"
    )
    stored = client.query(f"SELECT {columns}, details, contributors, revision FROM {name}.anomalies").result_rows
    wanted = [
        (
            one.anomaly_id.hex(),
            *(getattr(one, column) for column in columns.split(", ")[1:]),
            dict(one.details),
            [event_id.hex() for event_id in one.contributors],
            one.revision,
        )
        for one in live
    ]
    assert len(wanted) > 20
    assert sorted(stored, key=str) == sorted(wanted, key=str)
    assert found.events == len({record.event_id for record in LOG if hasattr(record, "event_id")})
    assert sum(one.findings for one in found.by_day) == len(wanted)
    client.command(f"DROP DATABASE {name}")
    client.command(f"DROP DATABASE {name}_data")


def test_a_scratch_database_is_dropped_and_another_of_the_same_rules_does_no_harm(client):
    first = preview(client, keep=True)
    assert databases(client) == {first.database, f"{first.database}_data"}
    assert preview(client).by_day == first.by_day
    assert databases(client) == set()


def test_only_what_began_in_the_span_counts_and_history_is_read_before(client, live):
    begin, end = DAY + 5_500_000, DAY + 11_200_000
    inside = [one for one in live if begin <= one.started < end]
    assert 0 < len(inside) < len(live)
    found = preview(client, asked=Asked(begin, end))
    assert sum(one.findings for one in found.by_day) == len(inside)
    assert (found.read_from_ms, found.begin_ms, found.end_ms) == (DAY, begin, end)
    assert preview(client, asked=Asked(begin, end, 0)).read_from_ms == begin


def test_the_largest_of_each_kind_are_told_with_the_largest_first(client, live):
    found = preview(client).largest
    for kind, scope in {(one.kind, one.scope) for one in live}:
        values = [one.value for one in live if (one.kind, one.scope) == (kind, scope)]
        said = [one.value for one in found if (one.kind, one.scope) == (kind, scope)]
        assert said == sorted(values, reverse=True)[:10]
    assert found[0].started.replace(tzinfo=UTC).timestamp() * 1_000 in {one.started for one in live}


def test_progress_goes_from_the_begin_to_the_end(client):
    reached = []
    found = preview(client, reached=reached)
    assert [one.time_ms for one in reached] == sorted(one.time_ms for one in reached)
    assert (reached[0].time_ms, reached[-1].time_ms) == (found.read_from_ms, reached[-1].end_ms)
    assert reached[-1].found == sum(one.findings for one in found.by_day)


def test_what_the_rules_in_force_found_is_counted(client):
    store(client, Codec(), [anomaly(DAY + n, rules_hash=Rules().hash) for n in range(3)])
    store(client, Codec(), [anomaly(DAY + 1_000, rules_hash=RULES.hash), anomaly(DAY - 1, rules_hash=Rules().hash)])
    (in_force,) = preview(client).in_force
    assert (in_force.kind, in_force.findings) == ("surge", 3)


def test_without_records_there_is_nothing_to_preview(client):
    with pytest.raises(PreviewError, match=r"nothing is recorded then: liquidations has 2024-12-05 00:00 UTC"):
        preview(client, asked=Asked(DAY - 2 * HOUR, DAY - HOUR))
    with pytest.raises(WarehouseError):
        run_preview(
            Recorded(f"chdb://{client.path}", databases=Databases("nowhere")),
            RULES,
            Rules(),
            PARAMETERS,
            EVERYTHING,
            print,
        )
    assert databases(client) == set()


def test_a_preview_that_is_stopped_leaves_nothing(client):
    def stop(_reached):
        assert databases(client)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_preview(Recorded(f"chdb://{client.path}"), RULES, Rules(), PARAMETERS, EVERYTHING, stop, keep=True)
    assert databases(client) == set()


def test_how_far_rules_look_back():
    only = "[{}]\nenabled = false\n"
    off = {name: only.format(name) for name in Rules.model_fields}
    rules = read_rules("".join(text for name, text in off.items() if name != "surge"))
    assert look_back_ms(rules) == 4 * 30 * HOUR + HOUR
    without = "".join(text for name, text in off.items() if name != "surge") + "[surge]\n"
    assert look_back_ms(read_rules(f"{without}scorer = 'quantile'\nlast = 500\n")) == 501 * HOUR
    assert look_back_ms(read_rules(f"{without}season = 'hour_of_week'\n")) == (8 * 168 + 1) * HOUR
    rules = read_rules(
        "".join(text for name, text in off.items() if name != "cascade") + "[cascade]\nhistory_days = 3\n"
    )
    assert look_back_ms(rules) == 97 * HOUR


@pytest.mark.usefixtures("client")
def test_the_command(folder, tmp_path, live):
    file = tmp_path / "rules.toml"
    file.write_text("[rolling_threshold]\nbase_usd = 50_000\nspan_s = 600\ncalm_s = 60\nmemory_s = 600\n")
    words = ["rules", "preview", "--rules", str(file), "--data", str(folder), "--to", "2024-12-05T03:00"]
    asked = CliRunner().invoke(commands, [*words, "--json"], catch_exceptions=False)
    document = json.loads(asked.stdout)
    wanted = [
        one for one in live if (one.kind, one.scope) == ("rolling_threshold", "asset") and one.started < DAY + 3 * HOUR
    ]
    said = document["rules"]["rolling_threshold asset"]
    assert document["rules_hash"] == RULES.hash
    assert document["to"] == datetime(2024, 12, 5, 3, tzinfo=UTC).isoformat()
    assert said["findings"] == sum(said["by_day"].values()) == len(wanted)
    assert said["degraded"] == sum(one.degraded for one in wanted)
    assert said["by_day"].keys() == {"2024-12-05"}
    assert len(said["largest"]) == 10
    for name, one in document["rules"].items():
        assert sum(series["findings"] for series in one["by_series"]) == one["findings"], name
    printed = CliRunner().invoke(commands, words, catch_exceptions=False).stdout
    assert "rolling_threshold" in printed
    assert f"{said['largest'][0]['value']:,.0f} USD" in printed
