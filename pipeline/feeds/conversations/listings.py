"""Contracts in a page of an exchange's list."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pipeline.feeds.rows import object_of
from pipeline.records import Instrument, RefusedError


def contracts_in(
    rows: Iterable[object], contract_of: Callable[[dict[str, Any]], Instrument | None]
) -> list[Instrument]:
    """Return the contracts of the rows; `contract_of` returns None for one that the feed does not serve.

    A row that it refuses is left out, so that one odd listing does not hide all others: what happens on that contract
    is then refused by its name or for want of its size. If no row can be read, the page is refused.
    """
    found, understood, refusal = [], 0, None
    for row in rows:
        try:
            contract = contract_of(object_of("contract", row))
        except RefusedError as error:
            refusal = error
            continue
        understood += 1
        if contract is not None:
            found.append(contract)
    if refusal is not None and not understood:
        raise refusal
    return found
