"""Take the pictures of the README: panels of a report in Chromium, into `docs/pictures`.

Run as `make pictures`, or `python tests/pictures/take.py REPORT.html`: a report of the demo, say.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
# Pictures by name, and the panel of each.
PANELS = {
    "market": "liquidations-market-5",
    "heatmap": "liquidations-heatmap-1",
    "coverage": "liquidations-quality-5",
}
_WIDTH = 1100


def take(report: Path) -> list[Path]:
    """Return the files that were written."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("Chromium is missing: apt-get install chromium")
    FOLDER.mkdir(parents=True, exist_ok=True)
    written = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH, "height": 900})
        page.goto(report.resolve().as_uri())
        for name, panel in PANELS.items():
            path = FOLDER / f"{name}.png"
            page.locator(f"[id='{panel}']").screenshot(path=path)
            written.append(path)
        browser.close()
    return written


if __name__ == "__main__":
    for file in take(Path(sys.argv[1])):
        sys.stdout.write(f"{file}: {file.stat().st_size / 1e3:.0f} kB\n")
