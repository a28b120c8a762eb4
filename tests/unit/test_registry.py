"""Schema ids from a registry: a small server that speaks its REST protocol, on a real socket."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.codec import load_schemas
from pipeline.records import Coverage
from pipeline.registry import RegistryError, codec_of, registry_ids
from pipeline.settings import Settings


class Registry(BaseHTTPRequestHandler):
    """POST /subjects/NAME/versions gives a schema its id, the same one when asked again."""

    known: dict[tuple[str, str], int]
    refuse: bool

    def do_POST(self) -> None:
        subject = self.path.split("?")[0].split("/")[2]
        schema = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["schema"]
        if self.refuse:
            self._answer(409, {"error_code": 409, "message": "incompatible schema"})
            return
        number = self.known.setdefault((subject, json.dumps(json.loads(schema))), 4_000 + len(self.known))
        self._answer(200, {"id": number, "version": 1, "guid": "", "schema": schema, "subject": subject})

    def _answer(self, code: int, document: dict) -> None:
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry():
    Registry.known, Registry.refuse = {}, False
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_ids_come_from_the_registry_and_are_on_the_wire(registry):
    codec = codec_of(Settings(schema_registry_url=registry))
    assert set(codec.ids) == set(load_schemas())
    assert min(codec.ids.values()) == 4_000
    record = Coverage("binance", "forceOrder", 0, 1, 2, 1)
    value = codec.encode(record)
    assert int.from_bytes(value[1:5], "big") == codec.ids["coverage.v2"]
    assert codec.decode(value) == record
    assert {subject for subject, _ in Registry.known} >= {"liquidations.Liquidation", "liquidations.Bar"}


def test_asking_twice_registers_nothing_new(registry):
    assert registry_ids(registry) == registry_ids(registry)


def test_a_refusal_is_one_line(registry):
    Registry.refuse = True
    with pytest.raises(RegistryError, match="incompatible schema"):
        registry_ids(registry)


def test_no_answer_is_one_line():
    with pytest.raises(RegistryError, match="does not answer"):
        registry_ids("http://127.0.0.1:9")


def test_without_a_registry_the_ids_are_those_of_the_file():
    assert codec_of(Settings()).ids["frame.v1"] == 1
