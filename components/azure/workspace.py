"""What the stack's Log Analytics workspace answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from components.azure.faults import asking
from components.azure.login import Clients
from components.target import TargetError


class Workspace:
    """`id`: its customer id."""

    def __init__(self, clients: Clients, id: str) -> None:
        self._clients = clients
        self._id = id

    def ask(self, query: str, span: tuple[datetime, datetime]) -> list[Any]:
        """Rows, by their columns' names. Raises `TargetError` where some may be missing."""
        from azure.monitor.query import LogsQueryResult

        with asking("read the log in the workspace"):
            result = self._clients.logs.query_workspace(self._id, query, timespan=span)
        if not isinstance(result, LogsQueryResult):
            raise TargetError(
                f"the workspace answers in part only ({result.partial_error}), but what it leaves out is not "
                f"known; ask again later."
            )
        return [row for table in result.tables for row in table.rows]


def text(at: datetime) -> str:
    """As a query has it, within datetime(…)."""
    return f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"
