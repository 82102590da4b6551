"""A name that a deleted vault keeps is told in the preview, not by a failed `up`."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from components.azure import availability
from components.azure.naming import Names
from components.target import TargetError


class StandInVaults:
    """`there`: whose group it is in. `free`: what the check of names says. `deleted`: names in the list."""

    def __init__(self, *, there: bool = False, free: bool = True, deleted: tuple[str, ...] = ()) -> None:
        self._there, self._free, self._names = there, free, deleted

    def get(self, group: str, vault: str) -> None:
        assert (group, vault) == ("rg-assets-prod", "kv-assets-prod")
        if not self._there:
            raise ResourceNotFoundError("no such vault")

    def check_name_availability(self, asked: dict[str, str]) -> Any:
        assert asked == {"name": "kv-assets-prod", "type": "Microsoft.KeyVault/vaults"}
        return SimpleNamespace(name_available=self._free)

    def list_deleted(self) -> list[Any]:
        known = SimpleNamespace(location="westeurope", scheduled_purge_date=datetime(2027, 2, 1, tzinfo=UTC))
        return [SimpleNamespace(name=name, properties=known) for name in self._names]


class ForbiddenVaults(StandInVaults):
    """Answers as ARM does to a login that may not read vaults."""

    def get(self, group: str, vault: str) -> None:
        error = HttpResponseError("does not have authorization")
        error.status_code = 403
        raise error


def check(monkeypatch: pytest.MonkeyPatch, vaults: StandInVaults) -> None:
    monkeypatch.setattr(availability, "_client", lambda *_: SimpleNamespace(vaults=vaults))
    availability.refuse_taken(Names("assets", "prod"), subscription="11111111-1111-1111-1111-111111111111")


@pytest.mark.parametrize("vaults", [StandInVaults(), StandInVaults(there=True, free=False)])
def test_a_free_name_and_the_stacks_own_vault_are_accepted(
    monkeypatch: pytest.MonkeyPatch, vaults: StandInVaults
) -> None:
    check(monkeypatch, vaults)


@pytest.mark.parametrize(
    ("vaults", "expected"),
    [
        (
            StandInVaults(free=False, deleted=("kv-other", "kv-assets-prod")),
            "relevo:azure.name is assets, but kv-assets-prod is a deleted vault in westeurope, which keeps "
            "the name until 2027-02-01; run az keyvault recover --name kv-assets-prod",
        ),
        (StandInVaults(free=False), "kv-assets-prod is the name of a vault elsewhere in Azure; take another"),
        (ForbiddenVaults(), "cannot see whether the name kv-assets-prod is free: Azure answers 403"),
    ],
    ids=["deleted", "elsewhere", "forbidden"],
)
def test_a_name_that_cannot_be_had_or_not_be_asked_for_stops_the_preview(
    monkeypatch: pytest.MonkeyPatch, vaults: StandInVaults, expected: str
) -> None:
    with pytest.raises(TargetError) as caught:
        check(monkeypatch, vaults)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
