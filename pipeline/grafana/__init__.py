"""Dashboards and alert rules: declared once, built into Grafana's files, and pushed."""
