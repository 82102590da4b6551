"""A disk that Azure has enlarged stays so: a smaller one would fail every later change of the server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from components.azure import disk
from components.azure.naming import Names
from components.target import TargetError


def declared(monkeypatch: pytest.MonkeyPatch, wanted: int, real: int | Exception) -> int:
    def get(group: str, server: str) -> Any:
        assert (group, server) == ("rg-assets-prod", "psql-assets-prod")
        if isinstance(real, Exception):
            raise real
        return SimpleNamespace(properties=SimpleNamespace(storage=SimpleNamespace(storage_size_gb=real)))

    postgres = SimpleNamespace(servers=SimpleNamespace(get=get))
    monkeypatch.setattr(disk, "Clients", lambda *_: SimpleNamespace(postgres=postgres))
    return disk.gigabytes(wanted, Names("assets", "prod"), subscription="1")


@pytest.mark.parametrize(
    ("wanted", "real", "expected"),
    [
        pytest.param(64, ResourceNotFoundError("none"), 64, id="a new server"),
        pytest.param(64, 64, 64, id="as configured"),
        pytest.param(64, 128, 128, id="grown by itself"),
        pytest.param(256, 128, 256, id="to be enlarged"),
    ],
)
def test_the_larger_of_the_configured_and_the_real_disk_is_declared(
    monkeypatch: pytest.MonkeyPatch, wanted: int, real: int | Exception, expected: int
) -> None:
    assert declared(monkeypatch, wanted, real) == expected


def test_a_size_that_cannot_be_known_stops_the_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    forbidden = HttpResponseError("does not have authorization")
    forbidden.status_code = 403
    with pytest.raises(TargetError, match="cannot see how large the disk of psql-assets-prod is"):
        declared(monkeypatch, 64, forbidden)
