# ruff: noqa: INP001 - a script of its own
"""Succeed if the broker counts a process on this machine as a live member of GROUP: `python check_member.py GROUP`.

The health check of worker and sink. A process that hangs, or cannot reach the broker, stops its heartbeats and leaves
the group after the session's time. In a container "this machine" is the one process that runs there.
"""

import socket
import sys

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.errors import OperationError
from pipeline.kafka_client import client_config
from pipeline.settings import read_settings

_TIMEOUT_S = 5.0


def main() -> int:
    """Return the exit code: 0 for a member, 1 otherwise, with the reason in one line."""
    try:
        settings = read_settings()
        name = settings.topic_prefix + sys.argv[1]
        own = own_address(settings.bootstrap_servers)
        admin = AdminClient(client_config(settings, "health"))
        group = admin.describe_consumer_groups([name], request_timeout=_TIMEOUT_S)[name].result(_TIMEOUT_S)
    except (OperationError, OSError, KafkaException) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    hosts = sorted(member.host.lstrip("/") for member in group.members)
    if own in hosts:
        return 0
    sys.stderr.write(f"{own} is not among the members of {name}: {', '.join(hosts) or 'none'}\n")
    return 1


def own_address(bootstrap_servers: str) -> str:
    """Return this machine's address as the broker sees it."""
    host, _, port = bootstrap_servers.partition(",")[0].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as connection:
        address: str = connection.getsockname()[0]
    return address


if __name__ == "__main__":
    sys.exit(main())
