"""Provisioning files beside dashboards and rules: data source, folder of dashboards, contact points and routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pipeline.grafana.targets import PLUGIN
from pipeline.settings import ContactSettings

Json = dict[str, Any]

# Where the container of docker-compose.yml finds the dashboards.
DASHBOARDS_PATH: Final = "/var/lib/grafana-liquidations/dashboards"
_QUERY_TIMEOUT_S: Final = "30"


def data_source(uid: str) -> Json:
    """Return the data source. Address and password are environment variables of Grafana's.

    `enableRowLimit` stays off: it would cut results without a word, those of alerts too. The database user has a limit
    of
    its own that fails instead.
    """
    return {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "ClickHouse liquidations",
                "uid": uid,
                "type": PLUGIN,
                "access": "proxy",
                "isDefault": True,
                "editable": False,
                "jsonData": {
                    "host": "$LIQUIDATIONS_CLICKHOUSE_HOST",
                    "port": 8123,
                    # Anything but "http" is taken for the native protocol.
                    "protocol": "http",
                    "secure": False,
                    "username": "liquidations_grafana",
                    "defaultDatabase": "liquidations",
                    "dialTimeout": "10",
                    "queryTimeout": _QUERY_TIMEOUT_S,
                },
                "secureJsonData": {"password": "$LIQUIDATIONS_GRAFANA_PASSWORD"},
            }
        ],
    }


def folder_of_dashboards(folder: str) -> Json:
    """Return the provider of the dashboards: read only, and what is no longer a file is no longer a dashboard."""
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": "liquidations",
                "orgId": 1,
                "type": "file",
                "folder": folder,
                "updateIntervalSeconds": 30,
                "allowUiUpdates": False,
                "disableDeletion": False,
                "options": {"path": DASHBOARDS_PATH, "foldersFromFilesStructure": False},
            }
        ],
    }


def contact_files(contacts: Mapping[str, ContactSettings]) -> Json:
    """Return contact points, and routes of our alerts to them by severity.

    An organisation has one tree of routes, and this replaces it. Alerts of one asset, or of one exchange, come
    together.
    """
    names = sorted(contacts)
    return {
        "apiVersion": 1,
        "contactPoints": [
            {"orgId": 1, "name": _name(name), "receivers": [_receiver(name, contacts[name])]} for name in names
        ],
        "policies": [
            {
                "orgId": 1,
                # What no route takes, alerts of others too.
                "receiver": _name(names[0]),
                "group_by": ["alertname", "asset", "exchange"],
                "group_wait": "30s",
                "group_interval": "5m",
                "repeat_interval": "4h",
                "routes": [_route(name, contacts[name]) for name in names],
            }
        ],
    }


def _receiver(name: str, contact: ContactSettings) -> Json:
    settings: Json
    if contact.kind == "webhook":
        settings = {"url": contact.address, "httpMethod": "POST", "maxAlerts": "0"}
    else:
        settings = {"addresses": contact.address, "singleEmail": True}
    return {"uid": _name(name), "type": contact.kind, "settings": settings}


def _route(name: str, contact: ContactSettings) -> Json:
    return {
        "receiver": _name(name),
        "object_matchers": [["product", "=", "liquidations"], ["severity", "=~", "|".join(contact.severities)]],
        "repeat_interval": contact.repeat,
        # Several contacts may be told of one alert.
        "continue": True,
    }


def _name(name: str) -> str:
    return f"liquidations-{name}"
