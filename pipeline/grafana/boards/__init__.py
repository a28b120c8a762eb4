"""All dashboards. A new one is a file here and an entry below."""

from __future__ import annotations

from typing import Final

from pipeline.grafana.boards.anomalies import ANOMALIES
from pipeline.grafana.boards.heatmap import HEATMAP
from pipeline.grafana.boards.market import MARKET
from pipeline.grafana.boards.pipeline import PIPELINE
from pipeline.grafana.boards.quality import QUALITY
from pipeline.grafana.boards.symbol import SYMBOL
from pipeline.grafana.dashboard import Dashboard

# Data quality comes first: it is the first link on every dashboard.
BOARDS: Final[tuple[Dashboard, ...]] = (QUALITY, MARKET, SYMBOL, HEATMAP, ANOMALIES, PIPELINE)
