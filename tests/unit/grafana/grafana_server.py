"""A server that answers as Grafana documents it: status codes, bodies or none, and what it adds to what it "
"was given."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "glsa_right"  # noqa: S105 - of this server only


class GrafanaServer:
    """What is stored, what was asked, and what goes wrong next: (method, path's start) -> answers in order."""

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, dict[str, Any]] = {
            "liquidations-clickhouse": {"id": 3, "uid": "liquidations-clickhouse"}
        }
        self.boards: dict[str, dict[str, Any]] = {}
        self.groups: dict[tuple[str, str], dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.faults: dict[tuple[str, str], list[tuple[int, bytes, dict[str, str]]]] = {}
        self.slow_s = 0.0
        self.url = ""

    @property
    def changes(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path in self.calls if method != "GET"]

    def fail(self, method: str, path: str, *answers: tuple[int, object]) -> None:
        """Answer the next calls this way; text is a body as it is, anything else JSON."""
        self.faults[method, path] = [
            (status, body.encode() if isinstance(body, str) else json.dumps(body).encode(), {})
            for status, body in answers
        ]

    def answer(self, method: str, target: str, body: Any) -> tuple[int, object]:  # noqa: C901, PLR0911 - one case a route
        parts = urlsplit(target)
        words = [unquote(word) for word in parts.path.removeprefix("/api/").split("/")]
        match method, words:
            case "GET", ["folders", uid]:
                return (200, self.folders[uid]) if uid in self.folders else (404, {"message": "folder not found"})
            case "POST", ["folders"]:
                if body["uid"] in self.folders:
                    return 412, {"message": "the folder has been changed by someone else", "status": "version-mismatch"}
                self.folders[body["uid"]] = {"id": 11, "version": 1, **body}
                return 200, self.folders[body["uid"]]
            case "GET", ["datasources", "uid", uid]:
                return (200, self.sources[uid]) if uid in self.sources else (404, {"message": "Data source not found"})
            case "GET", ["search"]:
                tag = parse_qs(parts.query)["tag"][0]
                found = [one for one in self.boards.values() if tag in one["dashboard"]["tags"]]
                return 200, [
                    {"uid": one["dashboard"]["uid"], "title": "", "folderUid": one["meta"]["folderUid"]}
                    for one in found
                ]
            case "GET", ["dashboards", "uid", uid]:
                return (200, self.boards[uid]) if uid in self.boards else (404, {"message": "Dashboard not found"})
            case "POST", ["dashboards", "db"]:
                return self.store(body)
            case "GET", ["v1", "provisioning", "folder", folder, "rule-groups", name]:
                # Documented: 404 without a body.
                return (200, self.groups[folder, name]) if (folder, name) in self.groups else (404, b"")
            case "PUT", ["v1", "provisioning", "folder", folder, "rule-groups", name]:
                if folder not in self.folders:
                    return 400, {"message": "folder does not exist"}
                group = copy.deepcopy(body)
                for number, rule in enumerate(group["rules"]):
                    rule |= {"id": number, "updated": "2026-01-01T00:00:00Z", "provenance": "api"}
                    rule["for"] = {"120s": "2m", "60s": "1m", "300s": "5m"}.get(rule["for"], rule["for"])
                self.groups[folder, name] = group
                return 200, group
        return 404, {"message": "Not found"}

    def store(self, body: dict[str, Any]) -> tuple[int, object]:
        board = body["dashboard"]
        there = self.boards.get(board["uid"])
        if there is not None and not body["overwrite"]:
            return 412, {"message": "A dashboard with the same uid already exists", "status": "version-mismatch"}
        version = 1 if there is None else there["dashboard"]["version"] + 1
        kept = {**copy.deepcopy(board), "id": 70 + len(self.boards), "version": version}
        self.boards[board["uid"]] = {"dashboard": kept, "meta": {"folderUid": body["folderUid"], "provisioned": False}}
        return 200, {"id": kept["id"], "uid": board["uid"], "status": "success", "version": version}


@contextmanager
def serving() -> Iterator[GrafanaServer]:
    grafana = GrafanaServer()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            grafana.calls.append((self.command, self.path))
            if grafana.slow_s:
                time.sleep(grafana.slow_s)
            for (method, path), answers in grafana.faults.items():
                if answers and method == self.command and self.path.startswith(path):
                    return self.send(*answers.pop(0))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.send(401, json.dumps({"message": "Invalid API key", "statusCode": 401}).encode(), {})
            status, answer = grafana.answer(self.command, self.path, body)
            return self.send(status, answer if isinstance(answer, bytes) else json.dumps(answer).encode(), {})

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - the library's names

        def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            if status in {301, 302, 307}:
                self.send_header("Location", body.decode())
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            # A client that could not wait so long has left.
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # so that closing waits for answers under way
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    grafana.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield grafana
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
