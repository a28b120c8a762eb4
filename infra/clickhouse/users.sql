-- Four users with no more rights than their work needs. Passwords are parameters and have no default.
--
-- Applied by `pipeline.warehouse.users.apply_users` as a user who may manage users; applying it again changes passwords
-- and repairs rights. Needs the databases only when the users work, not before.
--
-- liquidations_migrate owns tables and views. Views run with its rights (SQL SECURITY DEFINER), so whoever reads a view
-- needs no right on a table.
CREATE USER IF NOT EXISTS liquidations_migrate IDENTIFIED WITH sha256_password BY {migrate_password:String}

-- next statement
ALTER USER liquidations_migrate IDENTIFIED WITH sha256_password BY {migrate_password:String}

-- next statement
REVOKE ALL ON *.* FROM liquidations_migrate

-- next statement
GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, ALTER TABLE, ALTER VIEW, DROP TABLE, DROP VIEW, SHOW, SELECT, INSERT
ON liquidations_data.* TO liquidations_migrate

-- next statement
GRANT CREATE DATABASE, CREATE VIEW, ALTER VIEW, DROP VIEW, SHOW, SELECT ON liquidations.* TO liquidations_migrate

-- next statement
-- For the view of how much room tables take; of other databases it shows nothing.
GRANT SELECT ON system.parts TO liquidations_migrate

-- next statement
GRANT TABLE ENGINE ON ReplacingMergeTree, TABLE ENGINE ON AggregatingMergeTree, TABLE ENGINE ON Null TO liquidations_migrate

-- next statement
-- liquidations_write is the sink's: it adds rows, by the tables' entrances, and can neither read nor change any.
CREATE USER IF NOT EXISTS liquidations_write IDENTIFIED WITH sha256_password BY {write_password:String}

-- next statement
ALTER USER liquidations_write IDENTIFIED WITH sha256_password BY {write_password:String}

-- next statement
REVOKE ALL ON *.* FROM liquidations_write

-- next statement
GRANT
    INSERT ON liquidations_data.events_in,
    INSERT ON liquidations_data.candles_in,
    INSERT ON liquidations_data.metrics_in,
    INSERT ON liquidations_data.bars_in,
    INSERT ON liquidations_data.coverage_in,
    INSERT ON liquidations_data.tallies_in,
    INSERT ON liquidations_data.heartbeats_in,
    INSERT ON liquidations_data.subscriptions_in,
    INSERT ON liquidations_data.silences_in,
    INSERT ON liquidations_data.anomalies_in,
    INSERT ON liquidations_data.cascades_in,
    INSERT ON liquidations_data.market_delays_in,
    INSERT ON liquidations_data.dead_letters_in
TO liquidations_write

-- next statement
-- liquidations_read is for people, panels and reports. readonly = 2 lets a query bring settings, as drivers do, but
-- change nothing. A limit of 0 would mean none, hence MIN.
CREATE SETTINGS PROFILE OR REPLACE liquidations_read SETTINGS
    readonly = 2,
    max_execution_time = 30 MIN 1 MAX 60,
    max_memory_usage = 4000000000 MIN 1 MAX 4000000000,
    max_threads = 4 MIN 1 MAX 8,
    max_result_bytes = 1000000000 MIN 1 MAX 1000000000

-- next statement
CREATE USER IF NOT EXISTS liquidations_read IDENTIFIED WITH sha256_password BY {read_password:String}

-- next statement
ALTER USER liquidations_read IDENTIFIED WITH sha256_password BY {read_password:String}
SETTINGS PROFILE 'liquidations_read'

-- next statement
REVOKE ALL ON *.* FROM liquidations_read

-- next statement
GRANT SELECT ON liquidations.* TO liquidations_read

-- next statement
-- liquidations_grafana is the data source's. Grafana sends SQL as a panel or a user wrote it, so nothing but this user bounds
-- it: readonly = 1 lets a query bring no setting. The plugin sends max_execution_time with every query and would fail if it
-- might not. Too many rows are an error: an answer that is cut without a word would be a wrong one.
CREATE SETTINGS PROFILE OR REPLACE liquidations_grafana SETTINGS
    readonly = 1,
    max_execution_time = 30 MIN 1 MAX 60 CHANGEABLE_IN_READONLY,
    max_memory_usage = 4000000000,
    max_threads = 4,
    max_result_rows = 200000,
    result_overflow_mode = 'throw'

-- next statement
CREATE USER IF NOT EXISTS liquidations_grafana IDENTIFIED WITH sha256_password BY {grafana_password:String}

-- next statement
ALTER USER liquidations_grafana IDENTIFIED WITH sha256_password BY {grafana_password:String}
DEFAULT DATABASE liquidations SETTINGS PROFILE 'liquidations_grafana'

-- next statement
REVOKE ALL ON *.* FROM liquidations_grafana

-- next statement
GRANT SELECT ON liquidations.* TO liquidations_grafana
