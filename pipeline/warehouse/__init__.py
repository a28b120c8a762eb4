"""From topics to ClickHouse tables, and the SQL that reads them."""
