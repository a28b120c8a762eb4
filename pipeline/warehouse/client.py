"""Connections to ClickHouse, the server or the embedded engine, and what goes wrong with them in one line."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from pipeline.errors import OperationError

_CONNECT_TIMEOUT_S = 5
_ANSWER_TIMEOUT_S = 60

_CODE = re.compile(r"\bCode:\s*(\d+)")
# The start of the last "Code: N. DB::Exception: " and of "Received ClickHouse exception, code: N, server response: ".
_PREAMBLE = re.compile(r"^.*(?:DB::Exception:|server response:)\s*", re.DOTALL)
_NOISE = re.compile(
    r"\s*(?:Expected one of:|In scope |Stack trace:|\(for url |\(version |\(in file/uri |: ?While executing |"
    r": ?\(in query:).*$",
    re.DOTALL | re.IGNORECASE,
)
# What the client puts behind the user's query.
_APPENDED_FORMAT = re.compile(r"\n FORMAT \w+")
_ERROR_NAME = re.compile(r"\s*\([A-Z][A-Z0-9_]+\)\s*$")


class WarehouseError(OperationError):
    """ClickHouse cannot do what was asked; the message says why and what to do, in one line."""


def connect(
    url: str, user: str | None = None, password: str | None = None, settings: Mapping[str, Any] | None = None
) -> Client:
    """Return a client of the ClickHouse at `url`: `http(s)://HOST[:PORT]`, or `chdb:///PATH` for the embedded engine.

    A client serves one thread. Raises `WarehouseError` if the server does not answer or refuses the user, and if the
    embedded engine's folder cannot be used, because another process has it or for another reason.
    """
    # The driver logs every error that it also raises; we say each thing once.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    parts = urlsplit(url)
    if parts.scheme == "chdb":
        return _open_folder(unquote(parts.path), settings)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise WarehouseError(f"{url!r} is no address of ClickHouse: give http(s)://HOST:PORT or chdb:///PATH")
    secure = parts.scheme == "https"
    address = f"{parts.scheme}://{parts.hostname}:{parts.port or (8443 if secure else 8123)}"
    try:
        return clickhouse_connect.get_client(
            host=parts.hostname,
            port=parts.port or (8443 if secure else 8123),
            username=user or (unquote(parts.username) if parts.username else None),
            password=password or unquote(parts.password or ""),
            secure=secure,
            settings=dict(settings or {}),
            connect_timeout=_CONNECT_TIMEOUT_S,
            send_receive_timeout=_ANSWER_TIMEOUT_S,
            # A session would let no two queries run at once.
            autogenerate_session_id=False,
            query_retries=0,
        )
    except ClickHouseError as error:
        code = error_code(error)
        if code is None:
            raise WarehouseError(
                f"ClickHouse does not answer at {address}: is it running? ({_cause(error)})"
            ) from error
        raise WarehouseError(f"ClickHouse at {address} refuses: {short_message(error)}") from error


def error_code(error: BaseException) -> int | None:
    """Return ClickHouse's number for an error, or None if the error is not ClickHouse's own."""
    code = getattr(error, "code", None)
    if isinstance(code, int):
        return code
    found = _CODE.search(str(error)) if isinstance(error, DatabaseError) else None
    return int(found[1]) if found else None


def short_message(error: BaseException) -> str:
    """Return what ClickHouse said, in one line, without its stack, version and list of expected words."""
    text = str(error)
    core = _NOISE.sub("", _APPENDED_FORMAT.sub("", _PREAMBLE.sub("", text))) or text
    return " ".join(_ERROR_NAME.sub("", core).split()).rstrip(" .:")


def _open_folder(path: str, settings: Mapping[str, Any] | None) -> Client:
    if not path.strip("/"):
        raise WarehouseError("chdb:// needs the folder of the data: chdb:///PATH")
    owner = _owner(Path(path))
    if owner not in {None, os.getpid()}:
        raise WarehouseError(f"the data folder {path} is in use by process {owner}: stop that one, or query through it")
    try:
        return clickhouse_connect.get_client(interface="chdb", path=path, settings=dict(settings or {}))
    except ClickHouseError as error:
        if "already initialized with path" in str(error):
            reason = "this process has another folder open, and the embedded engine takes one at a time"
        else:
            reason = short_message(error)
        raise WarehouseError(f"cannot open the data folder {path}: {reason}") from error


def _owner(folder: Path) -> int | None:
    """Return the process whose engine has `folder` open, or None.

    The engine locks a file `status` and writes its process id into it. Left to find the lock itself, it fails with
    no reason in its error and prints one of its own.
    """
    try:
        with (folder / "status").open("rb") as status:
            try:
                fcntl.flock(status, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found = re.search(rb"PID: (\d+)", status.read())
                return int(found[1]) if found else 0
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WarehouseError(f"cannot open the data folder {folder}: {error.strerror}") from error
    return None


def _cause(error: BaseException) -> str:
    """Return the innermost reason for a connection's failure, without addresses of objects."""
    found = re.search(r"\[Errno \d+\] ([^'\")]+)|(timed out)|(Name or service not known)", str(error))
    return next(group for group in found.groups() if group) if found else short_message(error)[:200]
