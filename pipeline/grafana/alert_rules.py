"""All alert rules. A new one is an entry here, with the panel that shows what it speaks of.

Rules over anomalies (surge, rolling threshold by level, cascade opened and subsided,
    ratio) stand in `anomaly_rules.py`.

Each query gives one row per alert: text columns are labels, the one number is compared. Labels stay the same from one
evaluation to the next, or Grafana would take each evaluation for a new alert. A row that is gone is an alert that is
over.
"""

from __future__ import annotations

from typing import Final

from pipeline.grafana.alert import AlertGroup, AlertRule
from pipeline.grafana.anomaly_rules import ANOMALIES
from pipeline.grafana.boards.shared import PIPELINE_UID, QUALITY_UID

_DAY_S: Final = 86_400
_NO_ROW_IS_GOOD = "No row means that there is nothing of the kind, so no data is OK. An error is shown as an error."
_NO_ROW_IS_BAD = (
    "The query gives a row on an empty table, too, so no data means that it did not run: that alerts as well."
)

_SILENT: Final = """
SELECT exchange, channel, dateDiff('minute', began, least(now(), $__toTime)) AS minutes
FROM silences
WHERE $__timeFilter_ms(found) AND ended IS NULL
"""

# The last minute is left out: it may not be judged yet. A channel that was listened to within the day and has no row
# now is not covered at all.
_UNCOVERED: Final = """
SELECT exchange, channel, greatest(0., 1 - sumIf(toFloat64(alive_ms),
    start >= toStartOfMinute($__toTime_ms) - toIntervalMinute(17)
        AND start < toStartOfMinute($__toTime_ms) - toIntervalMinute(2)
    ) / 900000) AS uncovered
FROM coverage
WHERE $__timeFilter_ms(start) AND (exchange, channel) IN (SELECT exchange, channel FROM channels)
GROUP BY exchange, channel
"""

_NO_ROWS: Final = """
SELECT toFloat64(dateDiff('second', max(last_time), $__toTime_ms)) AS seconds
FROM heartbeats
WHERE $__timeFilter_ms(start)
"""

_WORKER_BEHIND: Final = """
SELECT greatest(0, toInt64(said) - toInt64(judged)) AS seconds
FROM (
    SELECT (SELECT toUnixTimestamp(max(last_time)) FROM heartbeats WHERE $__timeFilter_ms(start)) AS said,
        (SELECT toUnixTimestamp(max(start)) + 60 FROM coverage WHERE $__timeFilter_ms(start)) AS judged
)
"""

_REFUSED: Final = """
SELECT exchange, reason, count() AS messages
FROM dead_letters
WHERE $__timeFilter_ms(received_time) AND stage = 'mapping'
GROUP BY exchange, reason
"""

_REFUSED_BY_US: Final = """
SELECT stage, reason, count() AS records
FROM dead_letters
WHERE $__timeFilter_ms(received_time) AND stage != 'mapping'
GROUP BY stage, reason
"""

_DELAY: Final = """
SELECT exchange, quantile(0.95)(dateDiff('millisecond', event_time, received_time)) / 1000 AS seconds
FROM events
WHERE $__timeFilter_ms(event_time) AND event_time_kind = 'exchange'
GROUP BY exchange
HAVING count() >= 20
"""

QUALITY: Final = AlertGroup(
    "data-quality",
    60,
    (
        AlertRule(
            uid="liquidations-silent-channel",
            title="Channel is silent",
            question="Is a channel connected, and brings nothing although data are likely?",
            sql=_SILENT,
            above=0,
            severity="critical",
            summary="{{ $labels.exchange }} {{ $labels.channel }} brings nothing",
            description="Connected and silent for {{ $values.B.Value }} minutes, although data were likely. "
            "Sums of this "
            "exchange are too small since then; its coverage is 0.",
            dashboard=QUALITY_UID,
            panel=7,
            chooses="&var-exchange={{ $labels.exchange }}",
            why=_NO_ROW_IS_GOOD,
            looks_back_s=7 * _DAY_S,
        ),
        AlertRule(
            uid="liquidations-coverage",
            title="Coverage under its limit",
            question="Was a channel not listened to for more than a tenth of a quarter of an hour?",
            sql=_UNCOVERED,
            above=0.1,
            recovers_at=0.02,
            severity="warning",
            summary="{{ $labels.exchange }} {{ $labels.channel }} is not listened to all the time",
            description="{{ humanizePercentage $values.B.Value }} of the last quarter of an hour is not covered (limit "
            "10%). Sums of this exchange are lower bounds.",
            dashboard=QUALITY_UID,
            panel=5,
            chooses="&var-exchange={{ $labels.exchange }}",
            why=_NO_ROW_IS_GOOD,
            looks_back_s=_DAY_S,
            holds_s=120,
        ),
        AlertRule(
            uid="liquidations-refused",
            title="Messages are refused",
            question="Are more than 20 messages of one kind refused within a quarter of an hour?",
            sql=_REFUSED,
            above=20,
            severity="warning",
            summary="{{ $labels.exchange }}: messages are refused, {{ $labels.reason }}",
            description="{{ $values.B.Value }} messages in a quarter of an hour (limit 20). They are kept "
            "in dead_letters; "
            "the exchange may have changed its format.",
            dashboard=QUALITY_UID,
            panel=16,
            why=_NO_ROW_IS_GOOD,
        ),
        AlertRule(
            uid="liquidations-delay",
            title="Events come late",
            question="Does it take more than a minute until we read what an exchange reports?",
            sql=_DELAY,
            above=60,
            recovers_at=30,
            severity="warning",
            summary="{{ $labels.exchange }}: events come late",
            description='The 95th percentile from event to collector is {{ printf "%.0f" $values.B.Value }} '
            "s (limit 60 s, "
            "at least 20 events).",
            dashboard=QUALITY_UID,
            panel=10,
            chooses="&var-exchange={{ $labels.exchange }}",
            why=_NO_ROW_IS_GOOD,
            holds_s=300,
        ),
    ),
)

PIPELINE: Final = AlertGroup(
    "pipeline",
    60,
    (
        AlertRule(
            uid="liquidations-no-rows",
            title="No rows arrive",
            question="Has no heartbeat been stored for two minutes? Collector, log or sink stand.",
            sql=_NO_ROWS,
            above=120,
            severity="critical",
            summary="No rows arrive in ClickHouse",
            description='The newest heartbeat is {{ printf "%.0f" $values.B.Value }} s old (limit 120 s). '
            "Collectors, Kafka or "
            "the sink stand; until they go on, every number is of the past.",
            dashboard=PIPELINE_UID,
            panel=5,
            why=_NO_ROW_IS_BAD,
            looks_back_s=3_600,
            holds_s=60,
            no_data="Alerting",
            on_error="Alerting",
        ),
        AlertRule(
            uid="liquidations-worker-behind",
            title="Worker is behind",
            question="Is the last closed minute more than five minutes behind the last heartbeat?",
            sql=_WORKER_BEHIND,
            above=300,
            recovers_at=120,
            severity="critical",
            summary="The worker is behind the collectors",
            description='The last closed minute is {{ printf "%.0f" $values.B.Value }} s behind the last '
            "heartbeat (limit "
            "300 s): events are stored, bars and anomalies are not up to date.",
            dashboard=PIPELINE_UID,
            panel=2,
            why=_NO_ROW_IS_BAD,
            looks_back_s=3_600,
            holds_s=60,
            no_data="Alerting",
        ),
        AlertRule(
            uid="liquidations-refused-by-us",
            title="Worker or sink refuse records",
            question="Was a record of our own log refused?",
            sql=_REFUSED_BY_US,
            above=0,
            severity="critical",
            summary="{{ $labels.stage }} refuses records, {{ $labels.reason }}",
            description="{{ $values.B.Value }} records in a quarter of an hour. They come from our own log: "
            "a fault of ours, or "
            "something else wrote to the topic. They are kept in dead_letters.",
            dashboard=PIPELINE_UID,
            panel=4,
            why=_NO_ROW_IS_GOOD,
        ),
    ),
)

GROUPS: Final[tuple[AlertGroup, ...]] = (QUALITY, PIPELINE, ANOMALIES)

# Rules that once were: Grafana keeps what a file no longer names.
RETIRED: Final[tuple[str, ...]] = ()
