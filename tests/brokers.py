"""A real Apache Kafka for tests: one Java process, with the broker settings that docker compose uses."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.embedded.child import end_child, start_child

ROOT = Path(__file__).resolve().parents[1]
POM = ROOT / "tests" / "kafka" / "pom.xml"
SHARED_SETTINGS = ROOT / "infra" / "kafka" / "server.properties"
JARS = ROOT / "build" / "kafka" / "lib"
OLDEST_JAVA = 17
# Of embedded brokers, by their address, the file that workers lock while a transaction ends.
COMMIT_LOCKS: dict[str, Path] = {}
CLUSTER_ID = "bGlxdWlkYXRpb25zLTEyMw"


class KafkaMissingError(RuntimeError):
    """There is no real Kafka on this machine; the message says what it lacks."""


def fetch_jars() -> Path:
    """Return the folder with the broker's jars, fetched with Maven when the pom has changed since the last time."""
    stamp = JARS / "pom.sha256"
    wanted = hashlib.sha256(POM.read_bytes()).hexdigest()
    JARS.parent.mkdir(parents=True, exist_ok=True)
    with (JARS.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text() == wanted:
            return JARS
        maven = shutil.which("mvn")
        if maven is None:
            raise KafkaMissingError("mvn is not installed, so the jars of Apache Kafka cannot be fetched")
        shutil.rmtree(JARS, ignore_errors=True)
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={JARS}"]
        fetched = subprocess.run(
            [maven, "-q", "-B", "-f", str(POM), *goal], capture_output=True, text=True, check=False
        )
        if fetched.returncode != 0:
            raise KafkaMissingError(f"mvn could not fetch Apache Kafka: {fetched.stdout[-2000:]}")
        stamp.write_text(wanted)
    return JARS


def find_java() -> str:
    java = shutil.which("java")
    if java is None:
        raise KafkaMissingError("java is not installed")
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < OLDEST_JAVA:
        raise KafkaMissingError(f"java is older than {OLDEST_JAVA}, which Apache Kafka 4 needs")
    return java


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class KafkaBroker:
    """One Apache Kafka broker on loopback. Its port and data outlive `kill` and `stop`, until `remove`."""

    def __init__(self, folder: Path, heap: str = "768m") -> None:
        self.folder = folder
        self.log_path = folder / "broker.log"
        self.port = free_port()
        self.bootstrap_servers = f"127.0.0.1:{self.port}"
        self._java = find_java()
        self._class_path = f"{fetch_jars()}/*"
        self._heap = heap
        self._child: subprocess.Popen[bytes] | None = None
        self._properties = folder / "server.properties"
        folder.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(SHARED_SETTINGS.read_text() + self._own_settings())
        self._format()

    def start(self, timeout_s: float = 60.0) -> None:
        """Start and return when the broker answers."""
        self._child = start_child(
            [
                self._java,
                f"-Xmx{self._heap}",
                "-Dorg.apache.logging.log4j.level=INFO",
                "-cp",
                self._class_path,
                "kafka.Kafka",
                self._properties,
            ],
            self.log_path,
        )
        deadline = time.monotonic() + timeout_s
        while not answers(self.bootstrap_servers):
            if self._child.poll() is not None:
                raise RuntimeError(f"Kafka ended at start:\n{self.log_path.read_text()[-2000:]}")
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Kafka did not answer:\n{self.log_path.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Shut down in order."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGCONT)
            end_child(self._child, patience_s=30.0)
            self._child = None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        child = self._running()
        child.send_signal(signal.SIGSTOP)
        # Its threads stop one after the other.
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def remove(self) -> None:
        """Kill it and delete its data; the log stays."""
        self.kill()
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise RuntimeError("the broker is not running")
        return self._child

    def _own_settings(self) -> str:
        controller_port = free_port()
        lines = {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": self.bootstrap_servers.join(("PLAINTEXT://", "")),
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "log.dirs": self.folder / "data",
        }
        return "\n" + "".join(f"{name}={value}\n" for name, value in lines.items())

    def _format(self) -> None:
        tool = ["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", self._class_path, "kafka.tools.StorageTool"]
        done = subprocess.run(
            [self._java, *tool, "format", "-t", CLUSTER_ID, "-c", str(self._properties)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"Kafka's storage cannot be formatted:\n{done.stdout}{done.stderr}")


def answers(bootstrap_servers: str) -> bool:
    """Tell whether a broker answers a metadata request."""
    host, _, port = bootstrap_servers.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        return False
    with contextlib.suppress(KafkaException):
        AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0}).list_topics(timeout=2.0)
        return True
    return False


def in_ci() -> bool:
    return os.environ.get("CI") == "true"
