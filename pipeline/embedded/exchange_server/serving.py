"""`liquidations simulate --serve`: the server until it is stopped, and how to connect to it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.embedded.exchange_server.addresses import addresses, environment_lines, toml_of
from pipeline.embedded.exchange_server.ledger import ServedLedger
from pipeline.embedded.exchange_server.server import HOST, ExchangeServer, Play
from pipeline.errors import OperationError

_START_S = 30.0


class ServingError(OperationError):
    """The server cannot run; the message says why in one line."""


def serve(play: Play, ledger: Path | None, settings: Path | None, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. The ledger goes to `ledger`, the settings to `settings` or through `say`."""
    asyncio.run(_serve(play, ledger, settings, say))


async def _serve(play: Play, ledger_path: Path | None, settings: Path | None, say: Callable[[str], None]) -> None:
    ledger = _open(ledger_path)
    server = ExchangeServer(play, ledger)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await server.start()
    try:
        for line in _how_to(server, settings):
            say(line)
        waiting = [asyncio.create_task(stopped.wait()), asyncio.create_task(server.wait())]
        done, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        for task in done:
            task.result()
    finally:
        await server.stop()
        ledger.close()
    say("{sent:,} messages with {events:,} liquidations sent, {unheard:,} that nobody heard".format(**ledger.counts))


def _open(path: Path | None) -> ServedLedger:
    try:
        return ServedLedger(path, is_kept=path is not None)
    except OSError as error:
        raise ServingError(f"cannot write the ledger {path}: {error.strerror}") from error


def _how_to(server: ExchangeServer, path: Path | None) -> Iterator[str]:
    found = addresses(server.ports)
    control = f"http://{HOST}:{server.ports['control']}"
    chosen = " ".join(f"--exchange {exchange}" for exchange in found)
    if path is None:
        yield from environment_lines(found)
        yield f"# liquidations ingest {chosen}"
    else:
        try:
            # Whoever waits for the file finds it whole.
            written = path.with_name(path.name + ".new")
            written.write_text(toml_of(found))
            written.replace(path)
        except OSError as error:
            raise ServingError(f"cannot write settings to {path}: {error.strerror}") from error
        yield f"# liquidations --config {path} ingest {chosen}"
    yield f'# faults: curl -d \'{{"kind":"silent","exchange":"binance","for_s":60}}\' {control}/faults'


class ServedExchanges:
    """A server in a thread of this process, for tests: everything it does goes through its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: ExchangeServer) -> None:
        self.server = server
        self._loop = loop

    def call(self, function: Callable[[], object]) -> None:
        """Run `function` within the server's loop and return when it has run."""
        done = threading.Event()

        def run() -> None:
            function()
            done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait()


@contextmanager
def served(play: Play, ledger: ServedLedger, ports: dict[str, int] | None = None) -> Iterator[ServedExchanges]:
    """Serve within the `with` block, on `ports` or free ones."""
    started: list[ServedExchanges] = []
    failure: list[BaseException] = []
    ready = threading.Event()
    stop = asyncio.Event()

    async def work() -> None:
        server = ExchangeServer(play, ledger, ports)
        try:
            await server.start()
            started.append(ServedExchanges(asyncio.get_running_loop(), server))
            ready.set()
            waiting = asyncio.create_task(server.wait())
            await asyncio.wait([waiting, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                waiting.result()
            waiting.cancel()
        finally:
            await server.stop()

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:  # noqa: BLE001 - raised again where the block ends
            failure.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="exchanges", daemon=True)
    thread.start()
    ready.wait(_START_S)
    try:
        if started:
            yield started[0]
    finally:
        if started:
            started[0].call(stop.set)
        thread.join(_START_S)
        if failure:
            raise failure[0]
