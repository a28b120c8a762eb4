"""The report: the panels of all dashboards in one HTML file, for people without Grafana.

The declarations and their SQL are the dashboards' own; only the pictures are drawn here, by Vega-Lite, as SVG.
"""
