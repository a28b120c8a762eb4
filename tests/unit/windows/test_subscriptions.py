"""Coverage of contracts on a channel that is subscribed contract by contract."""

from __future__ import annotations

from event_logs import BASE_MS, CHANNELS, CONTRACTS, batch, heartbeat, liquidation, run, subscription
from hypothesis import given
from hypothesis import strategies as st

from pipeline.windows.channels import Channel, contract_alive_ms, hear
from pipeline.windows.checkpoint import restore, take
from pipeline.windows.fold import fold
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.subscriptions import Contract

BYBIT = CONTRACTS[2]
OTHER = ("bybit", "ETHUSDT", "ETH", "linear")
MINUTE_MS = 60_000
DAY_MS = 86_400_000


def beats(first_ms, last_ms, collector="one", step_ms=1_000):
    return [heartbeat(BASE_MS + at, CHANNELS[1], collector=collector) for at in range(first_ms, last_ms + 1, step_ms)]


def said(at_ms, state="up", contract=BYBIT, collector="one"):
    return subscription(BASE_MS + at_ms, contract, state, collector)


def contract_rows(log):
    rows = run(log)[0].latest().contracts.values()
    return {(row.symbol, (row.start - BASE_MS) // MINUTE_MS): row.alive_ms for row in rows}


def bar_coverage(log, contract=BYBIT):
    return run(log)[0].latest().bars[contract[0], contract[1], BASE_MS]["coverage"]


def test_a_contract_is_covered_from_its_confirmation_on():
    log = [
        *beats(0, 15_000),
        said(15_000),
        *beats(16_000, 66_000),
    ]
    assert contract_rows(log) == {("BTCUSDT", 0): 45_000}
    assert bar_coverage([*log[:40], liquidation(1, BASE_MS, BYBIT), *log[40:]]) == 45 / 60


def test_a_contract_that_was_never_confirmed_is_not_covered():
    log = [said(0), *beats(0, 30_000), liquidation(1, BASE_MS, OTHER), *beats(31_000, 66_000)]
    assert bar_coverage(log, OTHER) == 0.0


def test_without_subscriptions_the_channel_counts():
    log = [said(0, contract=("binance", "BTCUSDT", "BTC", "forceOrder")), *beats(0, 66_000)]
    assert bar_coverage([*log[:40], liquidation(1, BASE_MS, BYBIT), *log[40:]]) == 1.0
    assert not contract_rows(log)


def test_nothing_is_said_of_contracts_that_are_covered_as_their_channel():
    log = [
        said(-5_000),
        *beats(-2_000, 30_000),
        heartbeat(BASE_MS + 40_000, CHANNELS[1], "down"),
        *beats(50_000, 66_000),
    ]
    assert not contract_rows(log)


def test_a_contract_that_is_given_up_is_not_covered_until_it_is_confirmed_again():
    log = [said(-1_000), *beats(-1_000, 20_000), said(20_000, "down"), *beats(21_000, 50_000), said(50_000)]
    assert contract_rows([*log, *beats(51_000, 200_000)]) == {("BTCUSDT", 0): 30_000}


def test_while_it_stays_down_every_minute_says_so():
    log = [said(-1_000), *beats(-1_000, 20_000), said(20_000, "down"), *beats(21_000, 200_000)]
    assert contract_rows(log) == {("BTCUSDT", 0): 20_000, ("BTCUSDT", 1): 0, ("BTCUSDT", 2): 0}


def test_of_two_collectors_channel_and_contract_must_be_up_at_the_same():
    """One listens to the channel without the contract, the other has the contract and its channel is down."""
    log = [
        *[said(-1_000), said(-1_000, "down", collector="two")],
        *beats(-1_000, 20_000),
        heartbeat(BASE_MS + 20_001, CHANNELS[1], "down"),
        *beats(0, 66_000, "two"),
    ]
    assert contract_rows(log) == {("BTCUSDT", 0): 20_000}
    both = [said(-1_000), said(30_000, collector="two"), *log[2:]]
    assert contract_rows(both) == {("BTCUSDT", 0): 50_000}


def test_repetitions_and_older_words_change_nothing():
    log = [
        said(-1_000),
        *beats(-1_000, 40_000),
        said(-1_000),
        said(30_000),
        said(-2_000, "down"),
        *beats(41_000, 66_000),
    ]
    assert not contract_rows(log)


def test_a_confirmation_that_arrives_late_counts_from_when_it_was():
    log = [*beats(0, 30_000), said(10_000), liquidation(1, BASE_MS, BYBIT), *beats(31_000, 66_000)]
    assert contract_rows(log) == {("BTCUSDT", 0): 50_000}


def test_only_changes_are_written():
    state = run([said(0), said(0, contract=OTHER), *beats(0, 10_000)])[1]
    fold(state, batch([said(11_000, "down"), said(11_000, contract=OTHER)], 100), WindowParameters())
    written = [key for key, _ in take(state, WindowParameters()).cells if key.startswith(b"contract/")]
    assert written == [b"contract/bybit/linear/BTCUSDT"]


def test_a_contract_that_is_down_for_a_day_is_forgotten_and_its_channel_stays_by_contract():
    log = [said(0), said(5_000, "down"), *beats(0, 66_000), *beats(DAY_MS, DAY_MS + 130_000)]
    published, state = run(log, [3, 40, len(log) - 5])
    assert not [key for key in published.cells if key.startswith(b"contract/")]
    assert state.contracts == {("bybit", "linear"): {}}
    restored = restore(published.cells, WindowParameters(correction_ms=120_000))
    assert restored.contracts == state.contracts


changes = st.lists(st.tuples(st.integers(0, 70_000), st.booleans(), st.sampled_from(("one", "two"))), max_size=8)


@given(changes, changes)
def test_any_minute_is_as_counted_millisecond_by_millisecond(heard, confirmed):
    """`heard` are heartbeats, an `up` one covers the time since the one before; `confirmed` changes of the contract."""
    channel, contract = Channel(), Contract()
    listening = {"one": set(), "two": set()}
    subscribed = {"one": set(), "two": set()}
    last = {}
    for at, up, collector in sorted(heard):
        if last.get(collector, -1) >= at:
            continue
        if up and collector in last:
            listening[collector] |= set(range(last[collector], at))
        last[collector] = at
        hear(channel, heartbeat(BASE_MS + at, CHANNELS[1], "up" if up else "down", collector), 0, 90_000)
    for at, up, collector in sorted(confirmed, key=lambda one: one[0]):
        contract.hear(said(at, "up" if up else "down", collector=collector))
        later = set(range(at, MINUTE_MS))
        subscribed[collector] = subscribed[collector] | later if up else subscribed[collector] - later
    expected = set().union(*(listening[one] & subscribed[one] for one in listening)) & set(range(MINUTE_MS))
    assert contract_alive_ms(channel, contract, BASE_MS) == len(expected)
