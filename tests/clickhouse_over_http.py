"""A server that speaks ClickHouse's HTTP protocol, of which the embedded engine answers the queries.

One user, with a password, who may only read: what a query asks for is run with `readonly` as the user's profile would,
and as its URL says. Nothing is made up: answers, errors and their numbers are the engine's.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from clickhouse_connect.driver.exceptions import ClickHouseError

from pipeline.warehouse.client import connect, error_code

USER, PASSWORD = "liquidations_read", "a word"
_FORMAT = re.compile(r"\s+FORMAT\s+(\w+)\s*$")
# What the protocol takes beside settings.
_NO_SETTINGS = {"query", "database", "client_protocol_version", "default_format", "query_id", "session_id", "compress"}


@contextmanager
def serving_clickhouse(folder_url: str) -> Iterator[str]:
    """Answer queries on the folder `chdb:///PATH` at the address that is yielded."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, b"Ok.\n")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            if self.headers.get("Authorization") != _authorization():
                self._fail(403, 516, f"{USER}: Authentication failed: password is incorrect, or there is no such user.")
                return
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            sql = asked.get("query", "") + body
            named = _FORMAT.search(sql)
            settings = {name: value for name, value in asked.items() if name not in _NO_SETTINGS}
            with lock:
                client = connect(folder_url)
                try:
                    client.database = asked.get("database")
                    answer = client.raw_query(
                        sql[: named.start()] if named else sql,
                        fmt=named[1] if named else "TabSeparated",
                        settings={"readonly": 2} | settings,
                    )
                except ClickHouseError as error:
                    self._fail(500, error_code(error) or 1000, str(error))
                    return
                finally:
                    client.close()
            self._answer(200, answer)

        def _fail(self, status: int, code: int, words: str) -> None:
            text = words if words.startswith("Code:") else f"Code: {code}. DB::Exception: {words}"
            self._answer(status, text.encode(), {"X-ClickHouse-Exception-Code": str(code)})

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _authorization() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
