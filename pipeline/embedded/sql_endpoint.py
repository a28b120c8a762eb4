"""SQL while `liquidations up` runs: the embedded ClickHouse serves one process, so that process answers for others.

It listens on loopback only. Its address and a word that only the user can read lie in the data folder; who does not
know the word gets nothing, so that no web page in a browser can ask either.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pipeline.errors import OperationError
from pipeline.warehouse.client import WarehouseError, connect
from pipeline.warehouse.query import run_query

_HOST = "127.0.0.1"
_NOTE = "sql-endpoint.json"
_WORD = "X-Liquidations-Word"
_LONGEST_QUERY = 1 << 20
_PATIENCE_S = 120.0


@contextmanager
def sql_endpoint(clickhouse_url: str, data: Path) -> Iterator[str]:
    """Answer queries on the embedded ClickHouse within the `with` block; gives the endpoint's address."""
    word = secrets.token_urlsafe(24)
    # One query at a time: the engine uses all cores for one.
    lock = threading.Lock()

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            # In the answer, too: the port may since belong to somebody else.
            if not secrets.compare_digest(self.headers.get(_WORD, ""), word):
                self._answer(403, b"")
                return
            length = int(self.headers.get("Content-Length", "0"))
            if length > _LONGEST_QUERY:
                self._answer(413, b"the query is too long")
                return
            query = self.rfile.read(length).decode(errors="replace")
            named = parse_qs(urlsplit(self.path).query).get("format", ["PrettyCompact"])[0]
            try:
                with lock:
                    client = connect(clickhouse_url)
                    try:
                        answer = run_query(client, query, named)
                    finally:
                        client.close()
            except WarehouseError as error:
                self._answer(400, str(error).encode())
            else:
                self._answer(200, answer)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            if status != 403:  # noqa: PLR2004 - who does not know the word is not told
                self.send_header(_WORD, word)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            """Say nothing: the errors go to those who asked."""

    server = ThreadingHTTPServer((_HOST, 0), Answers)
    server.daemon_threads = True
    note = data / _NOTE
    address = f"{_HOST}:{server.server_address[1]}"
    _write_privately(note, json.dumps({"address": address, "word": word}))
    thread = threading.Thread(target=server.serve_forever, name="sql", daemon=True)
    thread.start()
    try:
        yield address
    finally:
        note.unlink(missing_ok=True)
        server.shutdown()
        server.server_close()
        thread.join()


def ask_endpoint(data: Path, query: str, output_format: str) -> bytes | None:
    """Return the answer of the process that has the data folder open, None if there is none.

    Raises `WarehouseError` with the words of that process for a query that is refused.
    """
    try:
        note = json.loads((data / _NOTE).read_text())
        address, word = str(note["address"]), str(note["word"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    connection = HTTPConnection(address, timeout=_PATIENCE_S)
    try:
        connection.request("POST", f"/?format={output_format}", query.encode(), {_WORD: word})
        response = connection.getresponse()
        body = response.read()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
    if response.getheader(_WORD) != word:
        return None
    if response.status != 200:  # noqa: PLR2004 - OK
        raise WarehouseError(body.decode(errors="replace"))
    return body


def _write_privately(path: Path, text: str) -> None:
    try:
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        raise OperationError(f"cannot write {path}: {error.strerror}") from error
