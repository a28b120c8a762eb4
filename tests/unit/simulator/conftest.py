from __future__ import annotations

import pytest

from pipeline.embedded.simulator import Truth, simulate_with_truth
from pipeline.records import Frame

Pairs = list[tuple[Frame, tuple[Truth, ...]]]


@pytest.fixture(scope="session")
def six_hours() -> Pairs:
    return list(simulate_with_truth(7))
