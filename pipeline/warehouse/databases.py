"""The two databases of one set of rows: views in `NAME`, tables in `NAME_data`.

`liquidations` is the usual name. A replay may fill another one beside it, and `liquidations compare` shows where two of
them differ. Migrations are written for the usual name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.warehouse.client import WarehouseError

USUAL = "liquidations"

# Letters, digits and underscores need no quotes in SQL, and nothing else is let into it.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_TAKEN = {"default", "system", "information_schema"}
_TABLES_END = "_data"
_USUAL_IN_SQL = re.compile(
    rf"(?<![\w./-]){USUAL}({_TABLES_END})?(?=\.[a-z])|(?<=EXISTS ){USUAL}({_TABLES_END})?(?= )"
    rf"|(?<=database = '){USUAL}({_TABLES_END})?(?=')"
)


@dataclass(frozen=True, slots=True)
class Databases:
    """The databases called `name`. Raises `WarehouseError` for what may not be a name."""

    name: str = USUAL

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in _TAKEN or self.name.endswith(_TABLES_END):
            raise WarehouseError(
                f"{self.name!r} cannot be the name of a database: use small letters, digits and underscores, not"
                f" {', '.join(sorted(_TAKEN))}, nor an end in {_TABLES_END}"
            )

    @property
    def views(self) -> str:
        """Return the database of the views."""
        return self.name

    @property
    def tables(self) -> str:
        """Return the database of the tables."""
        return self.name + _TABLES_END

    def rewrite(self, statement: str) -> str:
        """Return a statement of a migration with these databases in place of the usual ones."""
        return _USUAL_IN_SQL.sub(lambda found: self.name + (found[1] or found[2] or found[3] or ""), statement)
