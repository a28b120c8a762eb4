"""The detectors, one file each: the stateful parts of the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.detect.detector import Detector, Facts
from pipeline.detect.detectors.cascade import CascadeDetector
from pipeline.detect.detectors.ratio import RatioDetector
from pipeline.detect.detectors.regime import RegimeDetector
from pipeline.detect.detectors.rolling_threshold import RollingThresholdDetector
from pipeline.detect.detectors.silent_channel import SilentChannelDetector
from pipeline.detect.detectors.surge import SurgeDetector

# By the name of the rule's table in the rules file.
DETECTORS: Mapping[str, Callable[[Facts], Detector]] = {
    "surge": SurgeDetector,
    "rolling_threshold": RollingThresholdDetector,
    "cascade": CascadeDetector,
    "ratio": RatioDetector,
    "regime": RegimeDetector,
    "silent_channel": SilentChannelDetector,
}
