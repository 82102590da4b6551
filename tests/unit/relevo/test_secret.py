"""A secret of a stack on Azure goes into that stack's vault, and nowhere else."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from components.azure.login import Clients
from components.target import TargetError
from relevo import secret
from relevo.errors import RelevoError
from relevo.project import Project

ROOT = Path(__file__).parents[3]


class StandInVault:
    """Remembers what is set; `status`: what the vault answers instead."""

    def __init__(self, status: int | None = None) -> None:
        self.set: list[tuple[str, str, dict[str, Any]]] = []
        self.asked = ""
        self._status = status

    def set_secret(self, name: str, value: str, **options: Any) -> None:
        if self._status is not None:
            error = HttpResponseError("Caller is not authorized")
            error.status_code = self._status
            raise error
        self.set.append((name, value, options))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for name in ("Pulumi.yaml", "Pulumi.prod.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return Project(root=tmp_path)


def stand_in(monkeypatch: pytest.MonkeyPatch, vault: StandInVault) -> StandInVault:
    def open_vault(_clients: Clients, uri: str) -> StandInVault:
        vault.asked = uri
        return vault

    monkeypatch.setattr(Clients, "vault", open_vault)
    return vault


def test_it_is_set_under_its_name_there_and_expires_as_those_that_the_stack_makes(
    monkeypatch: pytest.MonkeyPatch, project: Project
) -> None:
    vault = stand_in(monkeypatch, StandInVault())
    secret.put(project, "prod", "SMOKE_PASSWORD", "hush hush")
    ((name, value, options),) = vault.set
    assert (vault.asked, name, value) == (
        "https://kv-prestamos-prod.vault.azure.net",
        "smoke-password",
        "hush hush",
    )
    assert abs(options["expires_on"] - datetime.now(UTC) - timedelta(days=365)) < timedelta(minutes=5)
    assert not (project.root / ".relevo").exists()


def test_a_vault_that_refuses_is_told_without_the_value(
    monkeypatch: pytest.MonkeyPatch, project: Project
) -> None:
    stand_in(monkeypatch, StandInVault(status=403))
    with pytest.raises(
        TargetError, match="cannot set the secret SMOKE_PASSWORD in https://kv-prest"
    ) as caught:
        secret.put(project, "prod", "SMOKE_PASSWORD", "hush hush")
    assert "hush" not in str(caught.value)


def test_a_name_that_is_not_declared_is_refused_before_the_vault_is_asked(
    monkeypatch: pytest.MonkeyPatch, project: Project
) -> None:
    vault = stand_in(monkeypatch, StandInVault())
    with pytest.raises(
        RelevoError, match=r"SMOKE_PASWORD is not among relevo:secrets.*did you mean SMOKE_PASS"
    ):
        secret.put(project, "prod", "SMOKE_PASWORD", "hush hush")
    assert vault.set == []
