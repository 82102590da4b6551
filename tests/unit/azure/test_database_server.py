"""What Azure has changed of the server is read: an update that sent it as it was would fail, or fail over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.postgresqlflexibleservers import models

from components.azure import database_server
from components.azure.database_server import Found, found
from components.azure.naming import Names
from components.target import TargetError


def ask(monkeypatch: pytest.MonkeyPatch, answer: Any) -> Found | None:
    def get(group: str, server: str) -> Any:
        assert (group, server) == ("rg-assets-prod", "psql-assets-prod")
        if isinstance(answer, Exception):
            raise answer
        return answer

    postgres = SimpleNamespace(servers=SimpleNamespace(get=get))
    monkeypatch.setattr(database_server, "Clients", lambda *_: SimpleNamespace(postgres=postgres))
    return found(Names("assets", "prod"), subscription="1")


def test_a_server_is_as_large_and_where_azure_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, ResourceNotFoundError("none")) is None
    properties = models.ServerProperties(
        storage=models.Storage(storage_size_gb=128),
        availability_zone="2",
        high_availability=models.HighAvailability(mode="ZoneRedundant", standby_availability_zone="1"),
    )
    made = models.Server(location="westeurope", properties=properties)
    assert ask(monkeypatch, made) == Found(storage_gb=128, ha="ZoneRedundant", zone="2", standby="1")
    bare = models.Server(location="westeurope", properties=models.ServerProperties(availability_zone=""))
    assert ask(monkeypatch, bare) == Found(storage_gb=0, ha="", zone=None, standby=None)


def test_a_server_that_cannot_be_asked_stops_the_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    forbidden = HttpResponseError("does not have authorization")
    forbidden.status_code = 403
    with pytest.raises(TargetError, match="cannot see how large the disk of psql-assets-prod is, and where"):
        ask(monkeypatch, forbidden)
