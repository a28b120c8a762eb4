"""YAML as people read it, for Grafana's provisioning files: texts of several lines as blocks, others quoted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def yaml_text(document: Mapping[str, Any]) -> str:
    """Return `document`, of mappings, sequences, texts, numbers, booleans and None, as YAML; keys keep their order."""
    return "\n".join(_lines(document)) + "\n"


def _lines(value: object) -> Iterator[str]:
    """Yield the lines of a mapping or sequence that is not empty, without indentation."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _entry(f"{key}:", inner)
    elif isinstance(value, Sequence):
        for inner in value:
            if isinstance(inner, Mapping | list | tuple) and inner:
                first, *rest = _lines(inner)
                yield f"- {first}"
                yield from (f"  {line}" for line in rest)
            else:
                yield from _entry("-", inner)


def _entry(head: str, inner: object) -> Iterator[str]:
    if isinstance(inner, Mapping | list | tuple) and inner:
        yield head
        yield from (f"  {line}" for line in _lines(inner))
    elif isinstance(inner, str) and "\n" in inner and not inner[0].isspace():
        # A block keeps every letter; `|-` adds no line at its end, `|+` keeps those that are there.
        yield f"{head} {'|+' if inner.endswith(chr(10)) else '|-'}"
        yield from (f"  {line}" if line else "" for line in inner.removesuffix("\n").split("\n"))
    else:
        # JSON's texts, numbers, empty lists and null are YAML's, too.
        yield f"{head} {json.dumps(inner, ensure_ascii=False)}"
