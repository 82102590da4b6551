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

SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"


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


class StandInNames:
    """Of one kind of resource, as its client has them: `there` in the stack's group, or `free`."""

    def __init__(self, name: str, *, there: bool = False, free: bool = True) -> None:
        self._name, self._there, self._free = name, there, free

    def get(self, group: str, name: str) -> None:
        assert (group, name) == ("rg-assets-prod", self._name)
        if not self._there:
            raise ResourceNotFoundError("no such resource")

    def check_name_availability(self, asked: dict[str, str]) -> Any:
        assert asked["name"] == self._name
        return SimpleNamespace(name_available=self._free)

    get_properties = get
    check_globally = check_name_availability


def check(
    monkeypatch: pytest.MonkeyPatch,
    vaults: StandInVaults,
    registry: StandInNames | None = None,
    server: StandInNames | None = None,
    account: StandInNames | None = None,
    site: StandInNames | None = None,
) -> None:
    monkeypatch.setattr(availability, "_client", lambda *_: SimpleNamespace(vaults=vaults))
    servers = server or StandInNames("psql-assets-prod")
    sites = site or StandInNames("app-assets-prod-instance-1")
    clients = SimpleNamespace(
        registries=SimpleNamespace(registries=registry or StandInNames("crassetsprod")),
        postgres=SimpleNamespace(servers=servers, name_availability=servers),
        storage=SimpleNamespace(storage_accounts=account or StandInNames("stassetsprod")),
        web=SimpleNamespace(web_apps=sites, check_name_availability=sites.check_name_availability),
    )
    monkeypatch.setattr(availability, "Clients", lambda *_: clients)
    availability.refuse_taken(
        Names("assets", "prod"), ["app-assets-prod-instance-1"], subscription=SUBSCRIPTION
    )


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


def test_a_registry_and_a_server_elsewhere_are_told_and_the_stacks_own_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vaults = StandInVaults()
    registry = StandInNames("crassetsprod", free=False)
    with pytest.raises(TargetError, match="but crassetsprod is the name of a container registry elsewhere"):
        check(monkeypatch, vaults, registry=registry)
    server = StandInNames("psql-assets-prod", free=False)
    with pytest.raises(
        TargetError, match="but psql-assets-prod is the name of a PostgreSQL server elsewhere"
    ):
        check(monkeypatch, vaults, server=server)
    check(
        monkeypatch,
        vaults,
        registry=StandInNames("crassetsprod", there=True, free=False),
        server=StandInNames("psql-assets-prod", there=True, free=False),
    )


@pytest.mark.parametrize(
    ("kind", "name", "what"),
    [("account", "stassetsprod", "storage account"), ("site", "app-assets-prod-instance-1", "web app")],
)
def test_an_account_and_a_site_elsewhere_are_told_and_the_stacks_own_accepted(
    monkeypatch: pytest.MonkeyPatch, kind: str, name: str, what: str
) -> None:
    elsewhere: Any = {kind: StandInNames(name, free=False)}
    with pytest.raises(TargetError, match=f"but {name} is the name of a {what} elsewhere in Azure"):
        check(monkeypatch, StandInVaults(), **elsewhere)
    own: Any = {kind: StandInNames(name, there=True, free=False)}
    check(monkeypatch, StandInVaults(), **own)
