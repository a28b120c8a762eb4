"""Findings: what a rule has found and still looks after, from the first revision to the last."""

from __future__ import annotations

from base64 import b64decode, b64encode
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby, islice
from typing import Any, Final, TypeVar

import orjson

from pipeline.records import (
    COMPLETENESS_ORDER,
    Anomaly,
    AnomalyState,
    Closed,
    Completeness,
    Scope,
    identity,
)
from pipeline.windows.fold import Cell

MICROS: Final = 1_000_000
MOST_CONTRIBUTORS: Final = 10

# An event's micro-dollars, negative so that the largest comes first, and its id.
Contributor = tuple[int, bytes]
_FIRST_REVISION: Final = 1
_ID_BYTES: Final = 16
T = TypeVar("T", bound=tuple[Any, ...])


@dataclass(slots=True)
class Finding:
    """One anomaly while it can change. The fields are those of `Anomaly`, and a few more.

    `tag` tells findings apart that are equal in everything else that makes an id, `largest` are its largest events.
    Before it is first said, `anomaly_id` is empty and `revision` 0.
    """

    kind: str
    scope: Scope
    asset: str
    started: int
    updated: int
    value: float
    threshold: float
    position: Closed = "both"
    measure: str = "usd"
    interval_ms: int = 0
    exchange: str = ""
    symbol: str = ""
    tag: str = ""
    state: AnomalyState = "open"
    level: int = 0
    baseline_mean: float | None = None
    baseline_sd: float | None = None
    baseline_n: int = 0
    coverage: float = 0.0
    completeness: Completeness = "unknown"
    degraded: bool = False
    ended: int | None = None
    details: dict[str, float] = field(default_factory=dict)
    largest: list[Contributor] = field(default_factory=list)
    revision: int = 0
    anomaly_id: bytes = b""

    def identity(self, rules_hash: str) -> bytes:
        """Return the anomaly's id: what it is about, its begin, and the rules."""
        where = (self.scope, self.asset, self.exchange, self.symbol)
        what = (self.position, self.measure, self.interval_ms, self.started, self.tag)
        return identity("anomaly", self.kind, *where, *what, rules_hash)

    def close(self, ended: int) -> None:
        """Take note that it has ended at `ended` (ms)."""
        self.state, self.ended = "closed", ended
        self.updated = max(self.updated, ended)

    def anomaly(self, rules_hash: str) -> Anomaly:
        """Return the record of this revision."""
        return Anomaly(
            anomaly_id=self.anomaly_id,
            kind=self.kind,
            scope=self.scope,
            asset=self.asset,
            exchange=self.exchange,
            symbol=self.symbol,
            position=self.position,
            measure=self.measure,
            interval_ms=self.interval_ms,
            state=self.state,
            level=self.level,
            value=self.value,
            threshold=self.threshold,
            baseline_mean=self.baseline_mean,
            baseline_sd=self.baseline_sd,
            baseline_n=self.baseline_n,
            coverage=self.coverage,
            completeness=self.completeness,
            degraded=self.degraded,
            started=self.started,
            updated=self.updated,
            ended=self.ended,
            details=dict(sorted(self.details.items())),
            contributors=[event_id for _, event_id in self.largest],
            rules_hash=rules_hash,
            revision=self.revision,
        )


class Findings:
    """The findings of one partition that can still change, and what the next checkpoint has to say of them.

    `say` publishes a finding as it is when the next checkpoint is taken: of several changes in between only the last
    one is seen, and the first of all, so that when something was found does not depend on checkpoints. A finding that
    can no longer change is let go with `forget`.
    """

    def __init__(self, rules_hash: str) -> None:
        self._hash = rules_hash
        self._kept: dict[bytes, Finding] = {}
        self._opened: list[Anomaly] = []
        self._changed: dict[bytes, Finding] = {}
        self._written: set[bytes] = set()
        self._gone: list[bytes] = []

    def of_kind(self, kind: str) -> Iterator[Finding]:
        """Yield the findings of one kind that are looked after."""
        return (finding for finding in self._kept.values() if finding.kind == kind)

    def say(self, finding: Finding) -> None:
        """Publish a new revision of `finding`, and look after it."""
        if not finding.anomaly_id:
            finding.anomaly_id = finding.identity(self._hash)
        finding.revision += 1
        if finding.revision == _FIRST_REVISION:
            self._opened.append(finding.anomaly(self._hash))
        self._kept[finding.anomaly_id] = self._changed[finding.anomaly_id] = finding

    def forget(self, finding: Finding) -> None:
        """Look no longer after `finding`; what was said of it is published."""
        self._kept.pop(finding.anomaly_id, None)
        self._gone.append(finding.anomaly_id)

    def close_all(self, watermark: int) -> None:
        """Close what is open, as far as is known at `watermark` (ms), and forget everything: the rules have changed."""
        for finding in list(self._kept.values()):
            if finding.state == "open":
                finding.close(max(watermark, finding.updated))
                self.say(finding)
            self.forget(finding)

    def take(self) -> tuple[list[Anomaly], list[Cell]]:
        """Return what changed since the last call: records, and cells named by the id in hexadecimal digits."""
        changed = [finding for finding in self._changed.values() if finding.revision > _FIRST_REVISION]
        records = [*self._opened, *(finding.anomaly(self._hash) for finding in changed)]
        cells: list[Cell] = []
        for key in self._gone:
            if key in self._written and key not in self._kept:
                self._written.remove(key)
                cells.append((key.hex().encode(), None))
        for key, finding in self._changed.items():
            if key in self._kept:
                self._written.add(key)
                cells.append((key.hex().encode(), _stored(finding)))
        self._opened, self._changed, self._gone = [], {}, []
        return records, cells

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Look after the findings in `cells`, by their names."""
        for name, value in sorted(cells.items()):
            key = bytes.fromhex(name)
            self._kept[key] = Finding(**_restored(orjson.loads(value)), anomaly_id=key)
            self._written.add(key)


def note_largest(largest: list[T], one: T) -> bool:
    """Put one event among the `largest`, of which at most ten are kept; return whether it is one of them.

    It begins as a `Contributor` does: of events of equal size those with the smaller ids count.
    """
    if len(largest) == MOST_CONTRIBUTORS:
        if one >= largest[-1]:
            return False
        largest.pop()
    insort(largest, one)
    return True


def cut_largest(largest: list[T]) -> None:
    """Put events in order and keep the ten largest, as `note_largest` of each would."""
    largest.sort()
    del largest[MOST_CONTRIBUTORS:]


def least_large_micros(largest: Sequence[T]) -> int:
    """Return the micro-dollars that another event needs to be among the `largest`, which are in order."""
    return -largest[-1][0] if len(largest) == MOST_CONTRIBUTORS else 0


def merge_largest(*lists: Sequence[T]) -> list[T]:
    """Return the ten largest events of several lists, each once; the lists are in order, as those of `note_largest`."""
    found = [largest for largest in lists if largest]
    # A list that begins after the first ten beginnings has none of them.
    firsts = sorted({largest[0] for largest in found})[:MOST_CONTRIBUTORS]
    in_order = merge(*[largest for largest in found if largest[0] <= firsts[-1]])
    return [one for one, _ in islice(groupby(in_order), MOST_CONTRIBUTORS)]


def least_complete(ranks: Iterable[int]) -> Completeness:
    """Return the last of the classes with these ranks; `unknown` where there is none."""
    return COMPLETENESS_ORDER[max(ranks, default=len(COMPLETENESS_ORDER) - 1)]


def stored_ids(ids: Iterable[bytes]) -> str:
    """Return events' ids as a cell holds them: 21 bytes for each."""
    return b64encode(b"".join(ids)).decode()


def ids_stored(text: str) -> list[bytes]:
    """Return the ids that a cell holds."""
    ids = b64decode(text)
    return [ids[begin : begin + _ID_BYTES] for begin in range(0, len(ids), _ID_BYTES)]


def stored_largest(largest: Sequence[Contributor]) -> list[Any]:
    """Return contributors as a cell holds them."""
    return [[micros for micros, _ in largest], stored_ids(event_id for _, event_id in largest)]


def largest_stored(found: Sequence[Any]) -> list[Contributor]:
    """Return contributors that a cell holds."""
    micros, ids = found
    return list(zip(micros, ids_stored(ids), strict=True))


_FIELDS: Final = tuple(name for name in Finding.__slots__ if name != "anomaly_id")


def _stored(finding: Finding) -> bytes:
    values = {name: getattr(finding, name) for name in _FIELDS}
    return orjson.dumps(list({**values, "largest": stored_largest(finding.largest)}.values()))


def _restored(values: Sequence[Any]) -> dict[str, Any]:
    named = dict(zip(_FIELDS, values, strict=True))
    return {**named, "largest": largest_stored(named["largest"])}
