"""Write the report into a file."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import OperationError
from pipeline.grafana.files import theme_of
from pipeline.grafana.report.answers import Ask
from pipeline.grafana.report.report import Wanted, report
from pipeline.settings import Settings


def write_report(ask: Ask, wanted: Wanted, settings: Settings, out: Path) -> None:
    """Write the report to `out`, in the colours of the settings. Raises `OperationError` if it cannot be written."""
    page = report(ask, wanted, theme_of(settings))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page)
    except OSError as error:
        raise OperationError(f"cannot write {out}: {error.strerror}") from error
