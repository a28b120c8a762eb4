from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from unit.warehouse.rows import liquidation, store

from pipeline.warehouse.client import WarehouseError, connect
from pipeline.warehouse.query import run_query


def test_any_format(client, codec):
    store(client, codec, [liquidation(1)])

    assert run_query(client, "SELECT symbol, notional_micros FROM events", "CSV") == b'"BTCUSDT",12250062501\n'
    assert run_query(client, "SELECT symbol FROM events FORMAT JSONEachRow;") == b'{"symbol":"BTCUSDT"}\n'
    assert "BTCUSDT" in run_query(client, "SELECT symbol FROM liquidations.events").decode()
    assert run_query(client, "SHOW TABLES LIKE 'bars_1m'", "TSV") == b"bars_1m\n"


@pytest.mark.parametrize(
    ("sql", "output_format", "message"),
    [
        ("SELEC 1", "CSV", "wrong query: Syntax error"),
        ("SELECT nosuch FROM bars_1m", "CSV", "wrong query: Unknown expression identifier `nosuch`"),
        ("SELECT * FROM nosuch", "CSV", "wrong query: Unknown table expression identifier 'nosuch'"),
        ("SELECT toDate('x')", "CSV", "wrong query: Cannot parse date"),
        ("SELECT throwIf(1, 'boo')", "CSV", "wrong query: boo"),
        ("SELECT 1", "Nosuch", "ClickHouse has no output format Nosuch"),
        ("  ; ", "CSV", "the query is empty"),
        ("DROP VIEW events", "CSV", "this command only reads"),
        ("TRUNCATE TABLE liquidations_data.events", "CSV", "this command only reads"),
        ("INSERT INTO liquidations_data.symbols (exchange) VALUES ('x')", "CSV", "this command only reads"),
        ("SELECT 1 SETTINGS readonly = 0", "CSV", "this command only reads"),
    ],
)
def test_what_is_wrong_comes_in_one_line_and_changes_nothing(client, codec, sql, output_format, message):
    store(client, codec, [liquidation(1)])

    with pytest.raises(WarehouseError) as raised:
        run_query(client, sql, output_format)

    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
    assert "version 2" not in str(raised.value)
    assert len(str(raised.value)) < 300
    assert run_query(client, "SELECT count() FROM events", "TSV") == b"1\n"
    store(client, codec, [liquidation(2)])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "http://127.0.0.1:1",
            r"ClickHouse does not answer at http://127.0.0.1:1: is it running\? \(Connection refused\)",
        ),
        ("ftp://somewhere", r"'ftp://somewhere' is no address of ClickHouse"),
        ("chdb://", "chdb:// needs the folder"),
    ],
)
def test_addresses_that_do_not_work(url, message):
    with pytest.raises(WarehouseError, match=message) as raised:
        connect(url)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("client")
def test_a_second_folder_in_one_process_is_refused(tmp_path):
    with pytest.raises(WarehouseError, match="this process has another folder open"):
        connect(f"chdb://{tmp_path}")


HOLD = """
import sys
from pipeline.warehouse.client import connect
client = connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""
TRY = """
import sys
from pipeline.warehouse.client import WarehouseError, connect
try:
    connect(sys.argv[1])
except WarehouseError as error:
    print(error)
"""


def test_a_folder_that_another_process_uses(tmp_path):
    url = f"chdb://{tmp_path}"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"open\n"
        tried = subprocess.run([sys.executable, "-c", TRY, url], capture_output=True, text=True, check=False)
    finally:
        holder.communicate()

    assert (tried.stdout, tried.stderr) == (
        f"the data folder {tmp_path} is in use by process {holder.pid}: stop that one, or query through it\n",
        "",
    )
    assert subprocess.run([sys.executable, "-c", TRY, url], capture_output=True, check=True).stdout == b""


class Answering(BaseHTTPRequestHandler):
    """A server that answers every query with one refusal."""

    status, code, text = 503, "", "busy"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def do_GET(self) -> None:
        body = self.text.encode()
        self.send_response(self.status)
        if self.code:
            self.send_header("X-ClickHouse-Exception-Code", self.code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "code", "text", "message"),
    [
        (503, "", "<html>busy</html>", "ClickHouse does not answer at http://127.0.0.1:{port}: is it running?"),
        (200, "", "hello", "ClickHouse does not answer at http://127.0.0.1:{port}: is it running?"),
        (
            403,
            "516",
            "Code: 516. DB::Exception: reader: Authentication failed. (AUTHENTICATION_FAILED) (version 26.9.2.1)",
            "ClickHouse at http://127.0.0.1:{port} refuses: reader: Authentication failed",
        ),
    ],
)
def test_servers_that_refuse_are_quoted_in_one_line(status, code, text, message):
    handler = type("Handler", (Answering,), {"status": status, "code": code, "text": text})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        port = server.server_address[1]
        try:
            with pytest.raises(WarehouseError) as raised:
                connect(f"http://reader:secret-word@127.0.0.1:{port}")
        finally:
            server.shutdown()

    assert str(raised.value).startswith(message.format(port=port))
    assert "\n" not in str(raised.value)
    assert "secret-word" not in str(raised.value)
    assert "(version" not in str(raised.value)
