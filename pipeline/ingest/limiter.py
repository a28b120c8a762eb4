"""How often each host may be asked, over all exchanges of the process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Final

import structlog

from pipeline.errors import OperationError
from pipeline.feeds.live import Budget

_log = structlog.get_logger()

# Hosts count by their own clock, and other programs may share our address.
_SHARE: Final = 0.8
# For a host whose budget is not known.
_CAREFUL: Final = Budget(weight=5, per_s=1)
# Longer than this nobody waits in line for a host that wants to be left alone.
_PATIENCE_S: Final = 60.0
_LONGEST_ALONE_S: Final = 3 * 24 * 3600.0


class LeftAloneError(OperationError):
    """The host has asked to be left alone for longer than anybody should wait."""


class HostLimits:
    """Turns to ask hosts, in the order in which they were asked for.

    Within any `per_s` seconds a host is asked for at most four fifths of its budget's weight. Where two exchanges name
    a budget for the same host, the smaller one counts.
    """

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}

    def know(self, budgets: Mapping[str, Budget]) -> None:
        """Take the budgets that an exchange publishes, by host."""
        for name, budget in budgets.items():
            host = self._hosts.get(name)
            if host is None or budget.weight / budget.per_s < host.budget.weight / host.budget.per_s:
                self._hosts[name] = _Host(name, budget)

    async def turn(self, host: str, weight: float) -> None:
        """Return when `host` may be asked for something of this weight. Raise `LeftAloneError` if that takes long."""
        await self._host(host).turn(weight)

    def leave_alone(self, host: str, seconds: float) -> None:
        """Ask `host` nothing for so long."""
        self._host(host).leave_alone(min(max(seconds, 0.0), _LONGEST_ALONE_S))

    def left_alone_s(self, host: str) -> float:
        """Return for how many seconds more `host` is left alone."""
        return self._host(host).left_alone_s()

    def plan(self, user: str, per_s: Mapping[str, float]) -> float:
        """Note how much weight a second `user` wants of each host, and return how many times too much that is.

        All users of a host count. 1.0 or less: there is enough for everybody.
        """
        for name, wanted in per_s.items():
            self._host(name).wanted[user] = wanted
        for name, host in self._hosts.items():
            if name not in per_s:
                host.wanted.pop(user, None)
        return max((self._host(name).load() for name in per_s), default=0.0)

    def least_s(self, host: str, weight: float) -> float:
        """Return how many seconds it takes at least to spend so much weight at `host`."""
        budget = self._host(host).budget
        return weight / (budget.weight * _SHARE) * budget.per_s

    def _host(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(name, _CAREFUL)
        return host


class _Host:
    """What was asked of one host in the last `per_s` seconds, and who waits."""

    def __init__(self, name: str, budget: Budget) -> None:
        self.name = name
        self.budget = budget
        self.wanted: dict[str, float] = {}
        self._most = budget.weight * _SHARE
        self._spent: deque[tuple[float, float]] = deque()  # loop time and weight
        self._sum = 0.0
        self._alone_until = 0.0
        self._line = asyncio.Lock()

    async def turn(self, weight: float) -> None:
        if weight > self._most:
            raise ValueError(f"a request of weight {weight:g} never fits into the budget of {self.name}")
        async with self._line:
            while True:
                alone_s = self.left_alone_s()
                if alone_s > _PATIENCE_S:
                    raise LeftAloneError(f"{self.name} is left alone for {alone_s:.0f} s more, as it has asked")
                wait_s = max(alone_s, self._room_after_s(weight))
                if wait_s <= 0:
                    break
                await asyncio.sleep(wait_s)
            self._spent.append((asyncio.get_running_loop().time(), weight))
            self._sum += weight

    def leave_alone(self, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        if until > self._alone_until:
            self._alone_until = until
            _log.warning("host_left_alone", host=self.name, seconds=round(seconds, 1))

    def left_alone_s(self) -> float:
        return max(0.0, self._alone_until - asyncio.get_running_loop().time())

    def load(self) -> float:
        return sum(self.wanted.values()) / (self._most / self.budget.per_s)

    def _room_after_s(self, weight: float) -> float:
        """Return in how many seconds enough of what was spent is forgotten."""
        now = asyncio.get_running_loop().time()
        while self._spent and self._spent[0][0] <= now - self.budget.per_s:
            self._sum -= self._spent.popleft()[1]
        if not self._spent:
            self._sum = 0.0
        over = self._sum + weight - self._most
        for at, spent in self._spent:
            if over <= 0:
                break
            over -= spent
            wait_s = at + self.budget.per_s - now
            if over <= 0:
                return max(wait_s, 0.001)
        return 0.0
