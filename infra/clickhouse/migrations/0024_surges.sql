-- The default surge rule over stored bars (docs/rules/surge.md): a bar above mean + 2.5 sample standard deviations of the 30 covered
-- bars before it, among the last 120; a covered bar without events is 0.
--
-- A filter on start cannot go through a window function, one on what the window is partitioned by can. So each bar is read for its
-- own day, and again for a later day whose bars it is among the last 120 of. `day` stands in every PARTITION BY and GROUP BY,
-- and a filter on it reaches the primary keys of bars and coverage.
--
-- Empty bars are not made. Coverage is dense and known for whole channels, which are few: slots are the bars of a day and the 120
-- before it. `place` is how many covered bars come before one, so the 30 before it are those with a place from 30 less on. A contract
-- that was listened to for less than its channel has rows in contract_coverage; the bars that it lost by them are counted off.
CREATE OR REPLACE VIEW liquidations.surges_1m
(
    day Date COMMENT 'UTC day of start. Filter by it: a filter on start alone reads everything.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the bar, included; the end is excluded.',
    scope String COMMENT 'instrument: one contract; asset: all contracts of it.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    exchange String COMMENT 'Exchange, lower case; empty for an asset.',
    symbol String COMMENT 'Contract as the exchange writes it; empty for an asset.',
    position String COMMENT 'Closed positions that count: long, short or both.',
    measure String COMMENT 'What value and threshold are: usd or count.',
    value Float64 COMMENT 'Liquidated USD, or number of liquidations.',
    threshold Float64 COMMENT 'Bound that the value has passed: mean + 2.5 deviations of the baseline.',
    baseline_mean Float64 COMMENT 'Mean of the covered bars before it.',
    baseline_sd Float64 COMMENT 'Their sample standard deviation.',
    baseline_n Int64 COMMENT 'How many they are: at most 30.',
    coverage Float64 COMMENT 'Share of the bar, 0 to 1, in which its feeds were listened to: the mean over them.',
    closed Bool COMMENT 'Whether all its minutes with events are closed; what comes later gives a correction.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS WITH
    span_bars AS
    (
        SELECT exchange, symbol, asset, toStartOfInterval(start, toIntervalMillisecond(60000)) AS span,
            sum(long_micros) AS longs, sum(short_micros) AS shorts, sum(long_count) AS long_events,
            sum(short_count) AS short_events, min(bar.closed) AS is_closed
        FROM liquidations_data.bars AS bar FINAL
        GROUP BY exchange, symbol, asset, span
    ),
    bars AS
    (
        SELECT *, intDiv(dateDiff('millisecond', toDateTime64(day, 3, 'UTC'), span) + 7200000, 60000) AS slot
        FROM
        (
            SELECT toDate(span) AS day, *
            FROM span_bars
            UNION ALL
            SELECT toDate(span) + 1 AS day, *
            FROM span_bars
            WHERE span >= toDateTime64(toDate(span) + 1, 3, 'UTC') - toIntervalMillisecond(7200000)
        )
    ),
    span_alive AS
    (
        SELECT exchange, channel, toStartOfInterval(start, toIntervalMillisecond(60000)) AS span,
            least(sum(toInt64(alive_ms)), 60000) AS alive
        FROM liquidations_data.coverage FINAL
        GROUP BY exchange, channel, span
    ),
    channels AS
    (
        SELECT day, exchange, channel, groupArrayInsertAt(toInt64(0), 1560)(
                alive, toUInt32(intDiv(dateDiff('millisecond', toDateTime64(day, 3, 'UTC'), span) + 7200000, 60000))) AS alive
        FROM
        (
            SELECT toDate(span) AS day, *
            FROM span_alive
            UNION ALL
            SELECT toDate(span) + 1 AS day, *
            FROM span_alive
            WHERE span >= toDateTime64(toDate(span) + 1, 3, 'UTC') - toIntervalMillisecond(7200000)
        )
        GROUP BY day, exchange, channel
    ),
    span_missed AS
    (
        SELECT exchange, channel, symbol, toStartOfInterval(start, toIntervalMillisecond(60000)) AS span, sum(missed_ms) AS missed
        FROM
        (
            SELECT own.exchange AS exchange, own.channel AS channel, own.symbol AS symbol, own.start AS start,
                greatest(0, toInt64(whole.alive_ms) - toInt64(own.alive_ms)) AS missed_ms
            FROM (SELECT exchange, channel, symbol, start, alive_ms FROM liquidations_data.contract_coverage FINAL) AS own
            INNER JOIN (SELECT exchange, channel, start, alive_ms FROM liquidations_data.coverage FINAL) AS whole
                ON own.exchange = whole.exchange AND own.channel = whole.channel AND own.start = whole.start
        )
        GROUP BY exchange, channel, symbol, span
    ),
    contracts AS
    (
        SELECT channels.day AS day, channels.exchange AS exchange, own.symbol AS symbol,
            arrayMap((whole_ms, missed_ms) -> greatest(0, whole_ms - missed_ms), channels.alive, own.missed) AS alive
        FROM
        (
            SELECT day, exchange, channel, symbol, groupArrayInsertAt(toInt64(0), 1560)(
                    missed, toUInt32(intDiv(dateDiff('millisecond', toDateTime64(day, 3, 'UTC'), span) + 7200000, 60000))) AS missed
            FROM
            (
                SELECT toDate(span) AS day, *
                FROM span_missed
                UNION ALL
                SELECT toDate(span) + 1 AS day, *
                FROM span_missed
                WHERE span >= toDateTime64(toDate(span) + 1, 3, 'UTC') - toIntervalMillisecond(7200000)
            )
            GROUP BY day, exchange, channel, symbol
        ) AS own
        INNER JOIN channels ON own.day = channels.day AND own.exchange = channels.exchange AND own.channel = channels.channel
    ),
    assets AS
    (
        SELECT day, asset, sumForEach(alive) AS alive, any(length(arrayFilter(since -> since <= day, first_days))) AS feeds
        FROM channels
        INNER JOIN
        (
            SELECT asset, feed.1 AS exchange, feed.2 AS channel, feed.3 AS first_day, arrayMap(each -> each.3, feeds) AS first_days
            FROM
            (
                SELECT asset, groupArray((exchange, channel, first_day)) AS feeds
                FROM
                (
                    SELECT asset, exchange, channel, toDate(min(first_time)) AS first_day
                    FROM liquidations_data.symbols
                    GROUP BY asset, exchange, channel
                )
                GROUP BY asset
            )
            ARRAY JOIN feeds AS feed
        ) AS brought ON channels.exchange = brought.exchange AND channels.channel = brought.channel
        WHERE first_day <= day
        GROUP BY day, asset
    ),
    slots AS
    (
        SELECT day, asset, exchange, channel, symbol, at - 1 AS slot, alive[at] / feeds / 60000 AS share,
            covered[at] AS is_covered, upto[at] - covered[at] AS place, place - if(at > 121, upto[at - 121], 0) AS known
        FROM
        (
            SELECT day, asset, exchange, channel, symbol, feeds, alive,
                arrayMap(ms -> toInt64(ms >= 0.9 * 60000 * feeds), alive) AS covered, arrayCumSum(covered) AS upto
            FROM
            (
                SELECT day, '' AS asset, exchange, channel, '' AS symbol, alive, 1 AS feeds FROM channels
                UNION ALL
                SELECT day, '', exchange, '', symbol, alive, 1 FROM contracts
                UNION ALL
                SELECT day, asset, '', '', '', alive, feeds FROM assets
            )
        )
        ARRAY JOIN arrayEnumerate(alive) AS at
    ),
    judged AS
    (
        SELECT bars.day AS day, 'instrument' AS scope, bars.asset AS asset, bars.exchange AS exchange, bars.symbol AS symbol,
            bars.span AS span, longs, shorts, long_events, short_events, is_closed,
            if(own.symbol != '', own.share, whole.share) AS share,
            if(own.symbol != '', own.is_covered, whole.is_covered) AS is_covered,
            if(own.symbol != '', own.place, whole.place) AS place,
            if(own.symbol != '', own.known, whole.known) AS known
        FROM bars
        LEFT JOIN
        (
            SELECT exchange, symbol, argMax(channel, last_time) AS channel
            FROM liquidations_data.symbols
            GROUP BY exchange, symbol
        ) AS seen ON bars.exchange = seen.exchange AND bars.symbol = seen.symbol
        LEFT JOIN (SELECT * FROM slots WHERE channel != '') AS whole
            ON bars.day = whole.day AND bars.slot = whole.slot AND bars.exchange = whole.exchange AND seen.channel = whole.channel
        LEFT JOIN (SELECT * FROM slots WHERE symbol != '') AS own
            ON bars.day = own.day AND bars.slot = own.slot AND bars.exchange = own.exchange AND bars.symbol = own.symbol
        UNION ALL
        SELECT sums.day, 'asset', sums.asset, '', '', span, longs, shorts, long_events, short_events, is_closed, share, is_covered,
            place, known
        FROM
        (
            SELECT day, asset, slot, span, sum(longs) AS longs, sum(shorts) AS shorts, sum(long_events) AS long_events,
                sum(short_events) AS short_events, min(is_closed) AS is_closed
            FROM bars
            GROUP BY day, asset, slot, span
        ) AS sums
        LEFT JOIN (SELECT * FROM slots WHERE asset != '') AS whole
            ON sums.day = whole.day AND sums.slot = whole.slot AND sums.asset = whole.asset
    ),
    with_baseline AS
    (
        SELECT *, groupArrayIf(
                (span, longs / 1000000, shorts / 1000000, toFloat64(long_events), toFloat64(short_events)), is_covered = 1)
            OVER (PARTITION BY day, scope, asset, exchange, symbol ORDER BY place RANGE BETWEEN 30 PRECEDING AND 1 PRECEDING) AS before
        FROM judged
    )
SELECT day, span AS start, scope, asset, exchange, symbol, position, measure, value, baseline_mean + 2.5 * baseline_sd AS threshold,
    baseline_mean, sqrt((arraySum(each -> pow(each - baseline_mean, 2), baseline)
        + (baseline_n - length(baseline)) * pow(baseline_mean, 2)) / (baseline_n - 1)) AS baseline_sd,
    baseline_n, coverage, closed
FROM
(
    SELECT day, span, scope, asset, exchange, symbol, kind.1 AS position, kind.2 AS measure, kind.3 AS value, kind.4 AS baseline,
        least(known, 30) AS baseline_n, arraySum(baseline) / baseline_n AS baseline_mean, share AS coverage,
        CAST(is_closed AS Bool) AS closed
    FROM
    (
        SELECT *, arrayFilter(each -> each.1 >= span - toIntervalMillisecond(7200000), before) AS bars_before
        FROM with_baseline
        WHERE toDate(span) = day AND longs + shorts >= 50000000000 AND long_events + short_events >= 3 AND known >= 2
    )
    ARRAY JOIN [
        ('long', 'usd', longs / 1000000, arrayMap(each -> each.2, bars_before), longs, long_events),
        ('short', 'usd', shorts / 1000000, arrayMap(each -> each.3, bars_before), shorts, short_events),
        ('both', 'usd', (longs + shorts) / 1000000, arrayMap(each -> each.2 + each.3, bars_before), longs + shorts,
            long_events + short_events),
        ('long', 'count', toFloat64(long_events), arrayMap(each -> each.4, bars_before), longs, long_events),
        ('short', 'count', toFloat64(short_events), arrayMap(each -> each.5, bars_before), shorts, short_events),
        ('both', 'count', toFloat64(long_events + short_events), arrayMap(each -> each.4 + each.5, bars_before), longs + shorts,
            long_events + short_events)] AS kind
    WHERE kind.5 >= 50000000000 AND kind.6 >= 3
)
WHERE value > threshold
COMMENT 'Bars of one minute that surge by the default rule, see docs/rules/surge.md. Filter by day.'

-- next statement
CREATE OR REPLACE VIEW liquidations.surges_5m
(
    day Date COMMENT 'UTC day of start. Filter by it: a filter on start alone reads everything.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the bar, included; the end is excluded.',
    scope String COMMENT 'instrument: one contract; asset: all contracts of it.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    exchange String COMMENT 'Exchange, lower case; empty for an asset.',
    symbol String COMMENT 'Contract as the exchange writes it; empty for an asset.',
    position String COMMENT 'Closed positions that count: long, short or both.',
    measure String COMMENT 'What value and threshold are: usd or count.',
    value Float64 COMMENT 'Liquidated USD, or number of liquidations.',
    threshold Float64 COMMENT 'Bound that the value has passed: mean + 2.5 deviations of the baseline.',
    baseline_mean Float64 COMMENT 'Mean of the covered bars before it.',
    baseline_sd Float64 COMMENT 'Their sample standard deviation.',
    baseline_n Int64 COMMENT 'How many they are: at most 30.',
    coverage Float64 COMMENT 'Share of the bar, 0 to 1, in which its feeds were listened to: the mean over them.',
    closed Bool COMMENT 'Whether all its minutes with events are closed; what comes later gives a correction.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS WITH
    span_bars AS
    (
        SELECT exchange, symbol, asset, toStartOfInterval(start, toIntervalMillisecond(300000)) AS span,
            sum(long_micros) AS longs, sum(short_micros) AS shorts, sum(long_count) AS long_events,
            sum(short_count) AS short_events, min(bar.closed) AS is_closed
        FROM liquidations_data.bars AS bar FINAL
        GROUP BY exchange, symbol, asset, span
    ),
    bars AS
    (
        SELECT *, intDiv(dateDiff('millisecond', toDateTime64(day, 3, 'UTC'), span) + 36000000, 300000) AS slot
        FROM
        (
            SELECT toDate(span) AS day, *
            FROM span_bars
            UNION ALL
            SELECT toDate(span) + 1 AS day, *
            FROM span_bars
            WHERE span >= toDateTime64(toDate(span) + 1, 3, 'UTC') - toIntervalMillisecond(36000000)
        )
    ),
    span_alive AS
    (
        SELECT exchange, channel, toStartOfInterval(start, toIntervalMillisecond(300000)) AS span,
            least(sum(toInt64(alive_ms)), 300000) AS alive
        FROM liquidations_data.coverage FINAL
        GROUP BY exchange, channel, span
    ),
    channels AS
    (
        SELECT day, exchange, channel, groupArrayInsertAt(toInt64(0), 408)(
                alive, toUInt32(intDiv(dateDiff('millisecond', toDateTime64(day, 3, 'UTC'), span) + 36000000, 300000))) AS alive
        FROM
        (
            SELECT toDate(span) AS day, *
            FROM span_alive
            UNION ALL
            SELECT toDate(span) + 1 AS day, *
            FROM span_alive
            WHERE span >= toDateTime64(toDate(span) + 1, 3, 'UTC') - toIntervalMillisecond(36000000)
        )
        GROUP BY day, exchange, channel
    ),
    span_missed AS
    (
        SELECT exchange, channel, symbol, toStartOfInterval(start, toIntervalMillisecond(300000)) AS span, sum(missed_ms) AS missed
        FROM
        (
            SELECT own.exchange AS exchange, own.channel AS channel, own.symbol AS symbol, own.start AS start,
                greatest(0, toInt64(whole.alive_ms) - toInt64(own.alive_ms)) AS missed_ms
            FROM (SELECT exchange, channel, symbol, start, alive_ms FROM liquidations_data.contract_coverage FINAL) AS own
            INNER JOIN (SELECT exchange, channel, start, alive_ms FROM liquidations_data.coverage FINAL) AS whole
                ON own.exchange = whole.exchange AND own.channel = whole.channel AND own.start = whole.start
        )
        GROUP BY exchange, channel, symbol, span
    ),
    contracts AS
    (
        SELECT channels.day AS day, channels.exchange AS exchange, own.symbol AS symbol,
            arrayMap((whole_ms, missed_ms) -> greatest(0, whole_ms - missed_ms), channels.alive, own.missed) AS alive
        FROM
        (
            SELECT day, exchange, channel, symbol, groupArrayInsertAt(toInt64(0), 408)(
                    missed, toUInt32(intDiv(dateDiff('millisecond', toDateTime64(day, 3, 'UTC'), span) + 36000000, 300000))) AS missed
            FROM
            (
                SELECT toDate(span) AS day, *
                FROM span_missed
                UNION ALL
                SELECT toDate(span) + 1 AS day, *
                FROM span_missed
                WHERE span >= toDateTime64(toDate(span) + 1, 3, 'UTC') - toIntervalMillisecond(36000000)
            )
            GROUP BY day, exchange, channel, symbol
        ) AS own
        INNER JOIN channels ON own.day = channels.day AND own.exchange = channels.exchange AND own.channel = channels.channel
    ),
    assets AS
    (
        SELECT day, asset, sumForEach(alive) AS alive, any(length(arrayFilter(since -> since <= day, first_days))) AS feeds
        FROM channels
        INNER JOIN
        (
            SELECT asset, feed.1 AS exchange, feed.2 AS channel, feed.3 AS first_day, arrayMap(each -> each.3, feeds) AS first_days
            FROM
            (
                SELECT asset, groupArray((exchange, channel, first_day)) AS feeds
                FROM
                (
                    SELECT asset, exchange, channel, toDate(min(first_time)) AS first_day
                    FROM liquidations_data.symbols
                    GROUP BY asset, exchange, channel
                )
                GROUP BY asset
            )
            ARRAY JOIN feeds AS feed
        ) AS brought ON channels.exchange = brought.exchange AND channels.channel = brought.channel
        WHERE first_day <= day
        GROUP BY day, asset
    ),
    slots AS
    (
        SELECT day, asset, exchange, channel, symbol, at - 1 AS slot, alive[at] / feeds / 300000 AS share,
            covered[at] AS is_covered, upto[at] - covered[at] AS place, place - if(at > 121, upto[at - 121], 0) AS known
        FROM
        (
            SELECT day, asset, exchange, channel, symbol, feeds, alive,
                arrayMap(ms -> toInt64(ms >= 0.9 * 300000 * feeds), alive) AS covered, arrayCumSum(covered) AS upto
            FROM
            (
                SELECT day, '' AS asset, exchange, channel, '' AS symbol, alive, 1 AS feeds FROM channels
                UNION ALL
                SELECT day, '', exchange, '', symbol, alive, 1 FROM contracts
                UNION ALL
                SELECT day, asset, '', '', '', alive, feeds FROM assets
            )
        )
        ARRAY JOIN arrayEnumerate(alive) AS at
    ),
    judged AS
    (
        SELECT bars.day AS day, 'instrument' AS scope, bars.asset AS asset, bars.exchange AS exchange, bars.symbol AS symbol,
            bars.span AS span, longs, shorts, long_events, short_events, is_closed,
            if(own.symbol != '', own.share, whole.share) AS share,
            if(own.symbol != '', own.is_covered, whole.is_covered) AS is_covered,
            if(own.symbol != '', own.place, whole.place) AS place,
            if(own.symbol != '', own.known, whole.known) AS known
        FROM bars
        LEFT JOIN
        (
            SELECT exchange, symbol, argMax(channel, last_time) AS channel
            FROM liquidations_data.symbols
            GROUP BY exchange, symbol
        ) AS seen ON bars.exchange = seen.exchange AND bars.symbol = seen.symbol
        LEFT JOIN (SELECT * FROM slots WHERE channel != '') AS whole
            ON bars.day = whole.day AND bars.slot = whole.slot AND bars.exchange = whole.exchange AND seen.channel = whole.channel
        LEFT JOIN (SELECT * FROM slots WHERE symbol != '') AS own
            ON bars.day = own.day AND bars.slot = own.slot AND bars.exchange = own.exchange AND bars.symbol = own.symbol
        UNION ALL
        SELECT sums.day, 'asset', sums.asset, '', '', span, longs, shorts, long_events, short_events, is_closed, share, is_covered,
            place, known
        FROM
        (
            SELECT day, asset, slot, span, sum(longs) AS longs, sum(shorts) AS shorts, sum(long_events) AS long_events,
                sum(short_events) AS short_events, min(is_closed) AS is_closed
            FROM bars
            GROUP BY day, asset, slot, span
        ) AS sums
        LEFT JOIN (SELECT * FROM slots WHERE asset != '') AS whole
            ON sums.day = whole.day AND sums.slot = whole.slot AND sums.asset = whole.asset
    ),
    with_baseline AS
    (
        SELECT *, groupArrayIf(
                (span, longs / 1000000, shorts / 1000000, toFloat64(long_events), toFloat64(short_events)), is_covered = 1)
            OVER (PARTITION BY day, scope, asset, exchange, symbol ORDER BY place RANGE BETWEEN 30 PRECEDING AND 1 PRECEDING) AS before
        FROM judged
    )
SELECT day, span AS start, scope, asset, exchange, symbol, position, measure, value, baseline_mean + 2.5 * baseline_sd AS threshold,
    baseline_mean, sqrt((arraySum(each -> pow(each - baseline_mean, 2), baseline)
        + (baseline_n - length(baseline)) * pow(baseline_mean, 2)) / (baseline_n - 1)) AS baseline_sd,
    baseline_n, coverage, closed
FROM
(
    SELECT day, span, scope, asset, exchange, symbol, kind.1 AS position, kind.2 AS measure, kind.3 AS value, kind.4 AS baseline,
        least(known, 30) AS baseline_n, arraySum(baseline) / baseline_n AS baseline_mean, share AS coverage,
        CAST(is_closed AS Bool) AS closed
    FROM
    (
        SELECT *, arrayFilter(each -> each.1 >= span - toIntervalMillisecond(36000000), before) AS bars_before
        FROM with_baseline
        WHERE toDate(span) = day AND longs + shorts >= 50000000000 AND long_events + short_events >= 3 AND known >= 2
    )
    ARRAY JOIN [
        ('long', 'usd', longs / 1000000, arrayMap(each -> each.2, bars_before), longs, long_events),
        ('short', 'usd', shorts / 1000000, arrayMap(each -> each.3, bars_before), shorts, short_events),
        ('both', 'usd', (longs + shorts) / 1000000, arrayMap(each -> each.2 + each.3, bars_before), longs + shorts,
            long_events + short_events),
        ('long', 'count', toFloat64(long_events), arrayMap(each -> each.4, bars_before), longs, long_events),
        ('short', 'count', toFloat64(short_events), arrayMap(each -> each.5, bars_before), shorts, short_events),
        ('both', 'count', toFloat64(long_events + short_events), arrayMap(each -> each.4 + each.5, bars_before), longs + shorts,
            long_events + short_events)] AS kind
    WHERE kind.5 >= 50000000000 AND kind.6 >= 3
)
WHERE value > threshold
COMMENT 'Bars of five minutes that surge by the default rule, see docs/rules/surge.md. Filter by day.'

-- next statement
CREATE OR REPLACE VIEW liquidations.surges_1h
(
    day Date COMMENT 'UTC day of start. Filter by it: a filter on start alone reads everything.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the bar, included; the end is excluded.',
    scope String COMMENT 'instrument: one contract; asset: all contracts of it.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    exchange String COMMENT 'Exchange, lower case; empty for an asset.',
    symbol String COMMENT 'Contract as the exchange writes it; empty for an asset.',
    position String COMMENT 'Closed positions that count: long, short or both.',
    measure String COMMENT 'What value and threshold are: usd or count.',
    value Float64 COMMENT 'Liquidated USD, or number of liquidations.',
    threshold Float64 COMMENT 'Bound that the value has passed: mean + 2.5 deviations of the baseline.',
    baseline_mean Float64 COMMENT 'Mean of the covered bars before it.',
    baseline_sd Float64 COMMENT 'Their sample standard deviation.',
    baseline_n Int64 COMMENT 'How many they are: at most 30.',
    coverage Float64 COMMENT 'Share of the bar, 0 to 1, in which its feeds were listened to: the mean over them.',
    closed Bool COMMENT 'Whether all its minutes with events are closed; what comes later gives a correction.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS WITH
    span_bars AS
    (
        SELECT exchange, symbol, asset, toStartOfInterval(start, toIntervalMillisecond(3600000)) AS span,
            sum(long_micros) AS longs, sum(short_micros) AS shorts, sum(long_count) AS long_events,
            sum(short_count) AS short_events, min(bar.closed) AS is_closed
        FROM liquidations_data.bars AS bar FINAL
        GROUP BY exchange, symbol, asset, span
    ),
    bars AS
    (
        SELECT *, intDiv(dateDiff('millisecond', toDateTime64(day, 3, 'UTC'), span) + 432000000, 3600000) AS slot
        FROM
        (
            SELECT toDate(span) AS day, *
            FROM span_bars
            UNION ALL
            SELECT toDate(span) + 1 AS day, *
            FROM span_bars
            WHERE span >= toDateTime64(toDate(span) + 1, 3, 'UTC') - toIntervalMillisecond(432000000)
            UNION ALL
            SELECT toDate(span) + 2 AS day, *
            FROM span_bars
            WHERE span >= toDateTime64(toDate(span) + 2, 3, 'UTC') - toIntervalMillisecond(432000000)
            UNION ALL
            SELECT toDate(span) + 3 AS day, *
            FROM span_bars
            WHERE span >= toDateTime64(toDate(span) + 3, 3, 'UTC') - toIntervalMillisecond(432000000)
            UNION ALL
            SELECT toDate(span) + 4 AS day, *
            FROM span_bars
            WHERE span >= toDateTime64(toDate(span) + 4, 3, 'UTC') - toIntervalMillisecond(432000000)
            UNION ALL
            SELECT toDate(span) + 5 AS day, *
            FROM span_bars
            WHERE span >= toDateTime64(toDate(span) + 5, 3, 'UTC') - toIntervalMillisecond(432000000)
        )
    ),
    span_alive AS
    (
        SELECT exchange, channel, toStartOfInterval(start, toIntervalMillisecond(3600000)) AS span,
            least(sum(toInt64(alive_ms)), 3600000) AS alive
        FROM liquidations_data.coverage FINAL
        GROUP BY exchange, channel, span
    ),
    channels AS
    (
        SELECT day, exchange, channel, groupArrayInsertAt(toInt64(0), 144)(
                alive, toUInt32(intDiv(dateDiff('millisecond', toDateTime64(day, 3, 'UTC'), span) + 432000000, 3600000))) AS alive
        FROM
        (
            SELECT toDate(span) AS day, *
            FROM span_alive
            UNION ALL
            SELECT toDate(span) + 1 AS day, *
            FROM span_alive
            WHERE span >= toDateTime64(toDate(span) + 1, 3, 'UTC') - toIntervalMillisecond(432000000)
            UNION ALL
            SELECT toDate(span) + 2 AS day, *
            FROM span_alive
            WHERE span >= toDateTime64(toDate(span) + 2, 3, 'UTC') - toIntervalMillisecond(432000000)
            UNION ALL
            SELECT toDate(span) + 3 AS day, *
            FROM span_alive
            WHERE span >= toDateTime64(toDate(span) + 3, 3, 'UTC') - toIntervalMillisecond(432000000)
            UNION ALL
            SELECT toDate(span) + 4 AS day, *
            FROM span_alive
            WHERE span >= toDateTime64(toDate(span) + 4, 3, 'UTC') - toIntervalMillisecond(432000000)
            UNION ALL
            SELECT toDate(span) + 5 AS day, *
            FROM span_alive
            WHERE span >= toDateTime64(toDate(span) + 5, 3, 'UTC') - toIntervalMillisecond(432000000)
        )
        GROUP BY day, exchange, channel
    ),
    span_missed AS
    (
        SELECT exchange, channel, symbol, toStartOfInterval(start, toIntervalMillisecond(3600000)) AS span, sum(missed_ms) AS missed
        FROM
        (
            SELECT own.exchange AS exchange, own.channel AS channel, own.symbol AS symbol, own.start AS start,
                greatest(0, toInt64(whole.alive_ms) - toInt64(own.alive_ms)) AS missed_ms
            FROM (SELECT exchange, channel, symbol, start, alive_ms FROM liquidations_data.contract_coverage FINAL) AS own
            INNER JOIN (SELECT exchange, channel, start, alive_ms FROM liquidations_data.coverage FINAL) AS whole
                ON own.exchange = whole.exchange AND own.channel = whole.channel AND own.start = whole.start
        )
        GROUP BY exchange, channel, symbol, span
    ),
    contracts AS
    (
        SELECT channels.day AS day, channels.exchange AS exchange, own.symbol AS symbol,
            arrayMap((whole_ms, missed_ms) -> greatest(0, whole_ms - missed_ms), channels.alive, own.missed) AS alive
        FROM
        (
            SELECT day, exchange, channel, symbol, groupArrayInsertAt(toInt64(0), 144)(
                    missed, toUInt32(intDiv(dateDiff('millisecond', toDateTime64(day, 3, 'UTC'), span) + 432000000, 3600000))) AS missed
            FROM
            (
                SELECT toDate(span) AS day, *
                FROM span_missed
                UNION ALL
                SELECT toDate(span) + 1 AS day, *
                FROM span_missed
                WHERE span >= toDateTime64(toDate(span) + 1, 3, 'UTC') - toIntervalMillisecond(432000000)
                UNION ALL
                SELECT toDate(span) + 2 AS day, *
                FROM span_missed
                WHERE span >= toDateTime64(toDate(span) + 2, 3, 'UTC') - toIntervalMillisecond(432000000)
                UNION ALL
                SELECT toDate(span) + 3 AS day, *
                FROM span_missed
                WHERE span >= toDateTime64(toDate(span) + 3, 3, 'UTC') - toIntervalMillisecond(432000000)
                UNION ALL
                SELECT toDate(span) + 4 AS day, *
                FROM span_missed
                WHERE span >= toDateTime64(toDate(span) + 4, 3, 'UTC') - toIntervalMillisecond(432000000)
                UNION ALL
                SELECT toDate(span) + 5 AS day, *
                FROM span_missed
                WHERE span >= toDateTime64(toDate(span) + 5, 3, 'UTC') - toIntervalMillisecond(432000000)
            )
            GROUP BY day, exchange, channel, symbol
        ) AS own
        INNER JOIN channels ON own.day = channels.day AND own.exchange = channels.exchange AND own.channel = channels.channel
    ),
    assets AS
    (
        SELECT day, asset, sumForEach(alive) AS alive, any(length(arrayFilter(since -> since <= day, first_days))) AS feeds
        FROM channels
        INNER JOIN
        (
            SELECT asset, feed.1 AS exchange, feed.2 AS channel, feed.3 AS first_day, arrayMap(each -> each.3, feeds) AS first_days
            FROM
            (
                SELECT asset, groupArray((exchange, channel, first_day)) AS feeds
                FROM
                (
                    SELECT asset, exchange, channel, toDate(min(first_time)) AS first_day
                    FROM liquidations_data.symbols
                    GROUP BY asset, exchange, channel
                )
                GROUP BY asset
            )
            ARRAY JOIN feeds AS feed
        ) AS brought ON channels.exchange = brought.exchange AND channels.channel = brought.channel
        WHERE first_day <= day
        GROUP BY day, asset
    ),
    slots AS
    (
        SELECT day, asset, exchange, channel, symbol, at - 1 AS slot, alive[at] / feeds / 3600000 AS share,
            covered[at] AS is_covered, upto[at] - covered[at] AS place, place - if(at > 121, upto[at - 121], 0) AS known
        FROM
        (
            SELECT day, asset, exchange, channel, symbol, feeds, alive,
                arrayMap(ms -> toInt64(ms >= 0.9 * 3600000 * feeds), alive) AS covered, arrayCumSum(covered) AS upto
            FROM
            (
                SELECT day, '' AS asset, exchange, channel, '' AS symbol, alive, 1 AS feeds FROM channels
                UNION ALL
                SELECT day, '', exchange, '', symbol, alive, 1 FROM contracts
                UNION ALL
                SELECT day, asset, '', '', '', alive, feeds FROM assets
            )
        )
        ARRAY JOIN arrayEnumerate(alive) AS at
    ),
    judged AS
    (
        SELECT bars.day AS day, 'instrument' AS scope, bars.asset AS asset, bars.exchange AS exchange, bars.symbol AS symbol,
            bars.span AS span, longs, shorts, long_events, short_events, is_closed,
            if(own.symbol != '', own.share, whole.share) AS share,
            if(own.symbol != '', own.is_covered, whole.is_covered) AS is_covered,
            if(own.symbol != '', own.place, whole.place) AS place,
            if(own.symbol != '', own.known, whole.known) AS known
        FROM bars
        LEFT JOIN
        (
            SELECT exchange, symbol, argMax(channel, last_time) AS channel
            FROM liquidations_data.symbols
            GROUP BY exchange, symbol
        ) AS seen ON bars.exchange = seen.exchange AND bars.symbol = seen.symbol
        LEFT JOIN (SELECT * FROM slots WHERE channel != '') AS whole
            ON bars.day = whole.day AND bars.slot = whole.slot AND bars.exchange = whole.exchange AND seen.channel = whole.channel
        LEFT JOIN (SELECT * FROM slots WHERE symbol != '') AS own
            ON bars.day = own.day AND bars.slot = own.slot AND bars.exchange = own.exchange AND bars.symbol = own.symbol
        UNION ALL
        SELECT sums.day, 'asset', sums.asset, '', '', span, longs, shorts, long_events, short_events, is_closed, share, is_covered,
            place, known
        FROM
        (
            SELECT day, asset, slot, span, sum(longs) AS longs, sum(shorts) AS shorts, sum(long_events) AS long_events,
                sum(short_events) AS short_events, min(is_closed) AS is_closed
            FROM bars
            GROUP BY day, asset, slot, span
        ) AS sums
        LEFT JOIN (SELECT * FROM slots WHERE asset != '') AS whole
            ON sums.day = whole.day AND sums.slot = whole.slot AND sums.asset = whole.asset
    ),
    with_baseline AS
    (
        SELECT *, groupArrayIf(
                (span, longs / 1000000, shorts / 1000000, toFloat64(long_events), toFloat64(short_events)), is_covered = 1)
            OVER (PARTITION BY day, scope, asset, exchange, symbol ORDER BY place RANGE BETWEEN 30 PRECEDING AND 1 PRECEDING) AS before
        FROM judged
    )
SELECT day, span AS start, scope, asset, exchange, symbol, position, measure, value, baseline_mean + 2.5 * baseline_sd AS threshold,
    baseline_mean, sqrt((arraySum(each -> pow(each - baseline_mean, 2), baseline)
        + (baseline_n - length(baseline)) * pow(baseline_mean, 2)) / (baseline_n - 1)) AS baseline_sd,
    baseline_n, coverage, closed
FROM
(
    SELECT day, span, scope, asset, exchange, symbol, kind.1 AS position, kind.2 AS measure, kind.3 AS value, kind.4 AS baseline,
        least(known, 30) AS baseline_n, arraySum(baseline) / baseline_n AS baseline_mean, share AS coverage,
        CAST(is_closed AS Bool) AS closed
    FROM
    (
        SELECT *, arrayFilter(each -> each.1 >= span - toIntervalMillisecond(432000000), before) AS bars_before
        FROM with_baseline
        WHERE toDate(span) = day AND longs + shorts >= 50000000000 AND long_events + short_events >= 3 AND known >= 2
    )
    ARRAY JOIN [
        ('long', 'usd', longs / 1000000, arrayMap(each -> each.2, bars_before), longs, long_events),
        ('short', 'usd', shorts / 1000000, arrayMap(each -> each.3, bars_before), shorts, short_events),
        ('both', 'usd', (longs + shorts) / 1000000, arrayMap(each -> each.2 + each.3, bars_before), longs + shorts,
            long_events + short_events),
        ('long', 'count', toFloat64(long_events), arrayMap(each -> each.4, bars_before), longs, long_events),
        ('short', 'count', toFloat64(short_events), arrayMap(each -> each.5, bars_before), shorts, short_events),
        ('both', 'count', toFloat64(long_events + short_events), arrayMap(each -> each.4 + each.5, bars_before), longs + shorts,
            long_events + short_events)] AS kind
    WHERE kind.5 >= 50000000000 AND kind.6 >= 3
)
WHERE value > threshold
COMMENT 'Bars of one hour that surge by the default rule, see docs/rules/surge.md. Filter by day.'
