"""Broker and ClickHouse engine on one machine without a server to install, the simulator and the demo."""
