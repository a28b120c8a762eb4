"""All dashboards. A new one is a file here and an entry below.

The dashboard of anomalies and cascades, the table of live anomalies on Market,
    the marks of cascades and the strip of regimes
on Symbol read tables of their own; panels 50 to 79 of Market and Symbol are kept for them.
"""

from __future__ import annotations

from typing import Final

from pipeline.grafana.boards.heatmap import HEATMAP
from pipeline.grafana.boards.market import MARKET
from pipeline.grafana.boards.pipeline import PIPELINE
from pipeline.grafana.boards.quality import QUALITY
from pipeline.grafana.boards.symbol import SYMBOL
from pipeline.grafana.dashboard import Dashboard

# Data quality comes first: it is the first link on every dashboard.
BOARDS: Final[tuple[Dashboard, ...]] = (QUALITY, MARKET, SYMBOL, HEATMAP, PIPELINE)
