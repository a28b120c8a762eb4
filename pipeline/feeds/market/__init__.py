"""Candles and readings of the market beside the liquidations: what an exchange's messages hold of them."""
