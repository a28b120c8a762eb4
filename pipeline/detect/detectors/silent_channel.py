"""Silent channels as findings: what the windows find of channels that are connected and bring nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.detect.detector import Detector
from pipeline.detect.finding import Finding
from pipeline.records import Silence

_KIND = "silent_channel"
_LEVEL = 1


class SilentChannelDetector(Detector):
    """Every partition finds the same silences; whoever publishes says them once."""

    name = "silent_channel"
    # It looks at channels.

    def hear_silences(self, silences: Sequence[Silence]) -> None:
        """Say the silences that began or ended."""
        findings = self.facts.findings
        for silence in silences:
            known = next(
                (
                    finding
                    for finding in findings.of_kind(_KIND)
                    if (finding.exchange, finding.symbol, finding.started)
                    == (silence.exchange, silence.channel, silence.began)
                ),
                None,
            )
            finding = self._finding(silence) if known is None else known
            if silence.ended is not None:
                finding.close(silence.ended)
            findings.say(finding)
            if silence.ended is not None:
                findings.forget(finding)

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Go on with the findings, which are all that is kept."""

    def _finding(self, silence: Silence) -> Finding:
        return Finding(
            kind=_KIND,
            scope="channel",
            asset="",
            exchange=silence.exchange,
            symbol=silence.channel,
            started=silence.began,
            updated=silence.found,
            measure="share",
            value=1.0 - silence.probability,
            threshold=1.0 - self.facts.parameters.silence_probability,
            level=_LEVEL,
            details={"expected_messages": silence.expected, "probability": silence.probability},
        )
