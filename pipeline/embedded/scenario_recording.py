"""A scenario of the simulated market of leveraged traders as a recording, and its ledger as a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import orjson

from pipeline.embedded.simulator.leverage import SCENARIOS, Run, frames, ledger_lines, listings
from pipeline.errors import OperationError
from pipeline.feeds.frame_lines import line_of_frame

# A collector says more; a recording of a day should stay small.
_HEARTBEAT_S = 5


def write_recording(scenario: str, seed: int, recording: BinaryIO, ledger_path: Path | None) -> None:
    """Write the frames of a scenario, one JSON document a line, and what was true in it to `ledger_path`.

    Raises `OperationError` if the ledger cannot be written.
    """
    run = Run(SCENARIOS[scenario], seed, _HEARTBEAT_S)
    recording.writelines(line_of_frame(frame) for frame in frames(run.items()))
    if ledger_path is None:
        return
    try:
        with ledger_path.open("wb") as file:
            file.writelines(ledger_lines(run.ledger))
    except OSError as error:
        raise OperationError(f"cannot write the ledger {ledger_path}: {error.strerror}") from error


def contract_lines() -> Iterator[bytes]:
    """Yield the metadata of the contracts of all scenarios, one JSON document a line."""
    for contract in listings():
        yield orjson.dumps(asdict(contract.instrument), option=orjson.OPT_APPEND_NEWLINE)
