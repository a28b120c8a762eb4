"""What the fold is told, out of the settings."""

from __future__ import annotations

from pipeline.settings import Settings
from pipeline.windows.parameters import WindowParameters


def window_parameters(settings: Settings) -> WindowParameters:
    """Return the fold's parameters."""
    return WindowParameters(
        lateness_ms=settings.lateness_ms,
        correction_ms=settings.correction_ms,
        behind_ms=settings.behind_ms,
        silence_probability=settings.silence_probability,
        silence_half_life_ms=settings.silence_half_life_ms,
    )
