"""The detectors, one file each: the stateful parts of the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.detect.detector import Detector, Facts
from pipeline.detect.detectors.rolling_threshold import RollingThresholdDetector

# By the name of the rule's table in the rules file.
DETECTORS: Mapping[str, Callable[[Facts], Detector]] = {
    "rolling_threshold": RollingThresholdDetector,
}
