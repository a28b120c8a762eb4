"""Crypto liquidations as exact, complete and reproducible data."""
