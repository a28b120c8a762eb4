"""The event of one row: what every mapping fills in from the frame, the contract and the size."""

from __future__ import annotations

from pipeline.feeds.sizes import Size
from pipeline.records import (
    Completeness,
    EventTimeKind,
    Frame,
    Instrument,
    Liquidation,
    Position,
    PriceKind,
    Source,
    check_liquidation,
)


def liquidation(
    frame: Frame,
    index: int,
    instrument: Instrument,
    size: Size,
    *,
    event_id: bytes,
    position: Position,
    price_kind: PriceKind,
    event_time: int,
    completeness: Completeness,
    order_price: float | None = None,
    event_time_kind: EventTimeKind = "exchange",
    position_proved: bool = True,
) -> Liquidation:
    """Return the checked event of the row at `index` of `frame`, or refuse it.

    `event_time` is in milliseconds since 1970, `order_price` for one base unit.
    """
    return check_liquidation(
        Liquidation(
            event_id=event_id,
            exchange=instrument.exchange,
            symbol=instrument.symbol,
            instrument=instrument.instrument,
            asset=instrument.asset,
            quote=instrument.quote,
            margin=instrument.margin,
            position=position,
            price=size.price,
            price_kind=price_kind,
            order_price=order_price,
            quantity=size.quantity,
            notional_micros=size.notional_micros,
            event_time=event_time,
            event_time_kind=event_time_kind,
            received_time=frame.received_time,
            completeness=completeness,
            source=Source(frame.channel, frame.connection, frame.sequence, index),
            position_proved=position_proved,
        )
    )
