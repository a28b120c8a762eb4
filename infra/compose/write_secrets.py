# ruff: noqa: INP001 - a script of its own
"""Write the passwords that docker compose needs, once: `python3 infra/compose/write_secrets.py .env`.

Needs nothing but Python, so that a machine with Docker only can run it.
"""

import os
import secrets
import sys
from pathlib import Path

NAMES = (
    "LIQUIDATIONS_ADMIN_PASSWORD",
    "LIQUIDATIONS_MIGRATE_PASSWORD",
    "LIQUIDATIONS_WRITE_PASSWORD",
    "LIQUIDATIONS_READ_PASSWORD",
    "LIQUIDATIONS_GRAFANA_PASSWORD",
    "LIQUIDATIONS_GRAFANA_ADMIN_PASSWORD",
)


def main() -> int:
    """Write the file named by the only argument and return the exit code: 1 if it is there already."""
    path = Path(sys.argv[1])
    text = "".join(f"{name}={secrets.token_urlsafe(24)}\n" for name in NAMES)
    try:
        # Nobody else may read the file, not even for the moment between its making and a change of mode.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.stderr.write(f"{path} is there already and stays as it is: ClickHouse knows the passwords in it\n")
        return 1
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    sys.stdout.write(f"{path}: {len(NAMES)} passwords written, readable by you only\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
