"""A contract as JSON: the fields of an `Instrument`, checked."""

from __future__ import annotations

from datetime import date

from pydantic import TypeAdapter, ValidationError

from pipeline.feeds.numbers import shown
from pipeline.records import Instrument, RefusedError

_INSTRUMENT = TypeAdapter(Instrument)
_KEYS = frozenset(Instrument.__dataclass_fields__)
_REASON = "bad_instruments"


def instrument_of(document: object) -> Instrument:
    """Return the contract that a JSON object describes by the names of an `Instrument`'s fields.

    Refuse (`bad_instruments`) what is no instrument, and numbers and dates that no contract can have.
    """
    if isinstance(document, dict) and (unknown := document.keys() - _KEYS):
        raise RefusedError(_REASON, f"no field of an instrument: {', '.join(sorted(unknown))}")
    try:
        instrument = _INSTRUMENT.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise RefusedError(_REASON, f"{'.'.join(map(str, first['loc']))} {first['msg']}".strip()) from None
    names = (instrument.exchange, instrument.symbol, instrument.instrument, instrument.asset, instrument.quote)
    if not all(names):
        raise RefusedError(_REASON, "exchange, symbol, instrument, asset and quote must not be empty")
    for name, number in (
        ("contract_size", instrument.contract_size),
        ("asset_multiplier", instrument.asset_multiplier),
    ):
        if number is not None and not 0 < number < float("inf"):
            raise RefusedError(_REASON, f"{name} is {number}, not a positive number")
    if instrument.expiry is not None:
        try:
            date.fromisoformat(instrument.expiry)
        except ValueError:
            raise RefusedError(_REASON, f"expiry is {shown(instrument.expiry)}, not YYYY-MM-DD") from None
    return instrument
