-- Parts that are older than a day are merged, however different they are in size. A read of valid rows then merges those of the last
-- day or two only: before, a month could stay in ten parts for ever, and a read of 30 days took twice the time. Each month is
-- rewritten once a day at most. See docs/decisions/0094-what-is-a-day-old-is-merged.md.
ALTER TABLE liquidations_data.events MODIFY SETTING min_age_to_force_merge_seconds = 86400

-- next statement
ALTER TABLE liquidations_data.received_events MODIFY SETTING min_age_to_force_merge_seconds = 86400

-- next statement
ALTER TABLE liquidations_data.seen_events MODIFY SETTING min_age_to_force_merge_seconds = 86400

-- next statement
ALTER TABLE liquidations_data.received_sightings MODIFY SETTING min_age_to_force_merge_seconds = 86400

-- next statement
ALTER TABLE liquidations_data.bars MODIFY SETTING min_age_to_force_merge_seconds = 86400

-- next statement
ALTER TABLE liquidations_data.coverage MODIFY SETTING min_age_to_force_merge_seconds = 86400

-- next statement
ALTER TABLE liquidations_data.contract_coverage MODIFY SETTING min_age_to_force_merge_seconds = 86400

-- next statement
ALTER TABLE liquidations_data.tallies MODIFY SETTING min_age_to_force_merge_seconds = 86400

-- next statement
ALTER TABLE liquidations_data.heartbeats MODIFY SETTING min_age_to_force_merge_seconds = 86400

-- next statement
ALTER TABLE liquidations_data.candles MODIFY SETTING min_age_to_force_merge_seconds = 86400

-- next statement
ALTER TABLE liquidations_data.metrics MODIFY SETTING min_age_to_force_merge_seconds = 86400

-- next statement
ALTER TABLE liquidations_data.anomalies MODIFY SETTING min_age_to_force_merge_seconds = 86400

-- next statement
ALTER TABLE liquidations_data.cascades MODIFY SETTING min_age_to_force_merge_seconds = 86400

-- next statement
ALTER TABLE liquidations_data.detections MODIFY SETTING min_age_to_force_merge_seconds = 86400
