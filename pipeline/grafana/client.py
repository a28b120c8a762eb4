"""Grafana's API, through grafana-api's connection.

The library's own calls fail after Grafana has done what was asked, wherever an answer has no body; they break on
errors whose
body is no object, and follow a redirect by turning a POST into a GET. Here the status is read first, a body is needed
by no
one, and a redirect is an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests
from grafana_api.grafana_face import GrafanaFace

from pipeline.errors import OperationError

_ATTEMPTS: Final = 3
_FIRST_WAIT_S: Final = 0.5
# What Grafana or a proxy before it says while it starts or is too busy; asked again only where asking twice is
# harmless.
_PASSING: Final = {429, 500, 502, 503, 504}
_MEANINGS: Final = {
    401: "the token is not accepted: set LIQUIDATIONS_GRAFANA_TOKEN to that of a service account",
    403: "the token may not do that: its service account needs the role Editor",
    404: "there is no such thing",
    409: "it exists already in another form",
    412: "it was changed by somebody else, or another object has its name",
}


class GrafanaError(OperationError):
    """Grafana does not answer or refuses; the message says why, in one line. `status` is None without an answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Grafana:
    """One Grafana. All calls give what its JSON says, None for a thing that is not there, and accept any 2xx."""

    def __init__(self, url: str, token: str, timeout_s: float, wait: Callable[[float], object] = time.sleep) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise GrafanaError(f"{url!r} is no address of Grafana: give http(s)://HOST[:PORT][/PATH]")
        prefix = parts.path.strip("/")
        face = GrafanaFace(
            token,
            host=parts.hostname,
            port=parts.port,
            # The library puts it before `api` as it is.
            url_path_prefix=f"{prefix}/" if prefix else "",
            protocol=parts.scheme,
            timeout=timeout_s,
        )
        self._api = face.api
        self._url = url
        self._wait = wait

    def close(self) -> None:
        """Close the connections."""
        self._api.s.close()

    def folder(self, uid: str) -> dict[str, Any] | None:
        """Return a folder."""
        found: dict[str, Any] | None = self._call("GET", f"/folders/{_quoted(uid)}")
        return found

    def create_folder(self, uid: str, title: str) -> None:
        """Make a folder."""
        self._call("POST", "/folders", {"uid": uid, "title": title})

    def data_source(self, uid: str) -> dict[str, Any] | None:
        """Return a data source."""
        found: dict[str, Any] | None = self._call("GET", f"/datasources/uid/{_quoted(uid)}")
        return found

    def dashboard(self, uid: str) -> dict[str, Any] | None:
        """Return a dashboard and what is known of it: keys `dashboard` and `meta`."""
        found: dict[str, Any] | None = self._call("GET", f"/dashboards/uid/{_quoted(uid)}")
        return found

    def dashboards_tagged(self, tag: str) -> list[dict[str, Any]]:
        """Return uid and title of each dashboard with a tag."""
        found: list[dict[str, Any]] = self._call("GET", f"/search?type=dash-db&limit=5000&tag={_quoted(tag)}") or []
        return found

    def put_dashboard(self, board: dict[str, Any], folder_uid: str, message: str) -> None:
        """Make a dashboard, or replace the one with its uid."""
        body = {"dashboard": board, "folderUid": folder_uid, "overwrite": True, "message": message}
        # It names the uid, so doing it twice is doing it once.
        self._call("POST", "/dashboards/db", body, again=True)

    def rule_group(self, folder_uid: str, name: str) -> dict[str, Any] | None:
        """Return a group of alert rules."""
        found: dict[str, Any] | None = self._call("GET", _group_path(folder_uid, name))
        return found

    def put_rule_group(self, group: dict[str, Any]) -> None:
        """Replace a group of alert rules: rules that are not named go."""
        self._call("PUT", _group_path(group["folderUid"], group["title"]), group)

    def _call(self, method: str, path: str, body: object = None, *, again: bool | None = None) -> Any:  # noqa: ANN401
        """Make a call, again after passing failures if that is harmless. Raise `GrafanaError` with one line."""
        harmless = method != "POST" if again is None else again
        left = _ATTEMPTS if harmless else 1
        wait_s = _FIRST_WAIT_S
        while True:
            left -= 1
            try:
                reply = self._api.s.request(
                    method,
                    self._api.url + path,
                    json=body,
                    auth=self._api.auth,
                    verify=self._api.verify,
                    timeout=self._api.timeout,
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                if left == 0:
                    raise GrafanaError(f"Grafana does not answer at {self._url}: {_cause(error)}") from error
            else:
                if left == 0 or reply.status_code not in _PASSING:
                    return self._read(method, path, reply)
            self._wait(wait_s)
            wait_s *= 2

    def _read(self, method: str, path: str, reply: requests.Response) -> Any:  # noqa: ANN401 - JSON
        status = reply.status_code
        if status == 404 and method == "GET":  # noqa: PLR2004 - not found
            # A proxy's page would look the same as a thing that is not there.
            if reply.text and not isinstance(_json(reply), dict):
                raise GrafanaError(f"{self._url} is no Grafana: it does not know /api{path}", status)
            return None
        if 300 <= status < 400:  # noqa: PLR2004 - redirects
            to = reply.headers.get("Location", "elsewhere")
            raise GrafanaError(f"Grafana at {self._url} sends us to {to}: set that address", status)
        if not 200 <= status < 300:  # noqa: PLR2004 - success
            said = _json(reply)
            words = said.get("message") if isinstance(said, dict) else None
            meaning = _MEANINGS.get(status, "it fails" if status >= 500 else "it refuses")  # noqa: PLR2004
            detail = " ".join(str(words or reply.text).split())[:300]
            raise GrafanaError(f"Grafana at {self._url}: {method} {path}: {status}, {meaning} ({detail})", status)
        return _json(reply)


def _json(reply: requests.Response) -> Any:  # noqa: ANN401 - JSON
    """Return the body, or None if there is none that is JSON."""
    try:
        return reply.json()
    except ValueError:
        return None


def _group_path(folder_uid: str, name: str) -> str:
    return f"/v1/provisioning/folder/{_quoted(folder_uid)}/rule-groups/{_quoted(name)}"


def _quoted(part: str) -> str:
    return quote(part, safe="")


def _cause(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    return "is it running?"
