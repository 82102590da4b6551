"""What a further process runs is read, not remembered: an update of its container app sends it again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.appcontainers import models

from components.azure import revisions
from components.azure.revisions import Running, found
from components.target import TargetError


def ask(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> dict[str, Running]:
    def get(group: str, name: str) -> Any:
        assert group == "rg-assets-prod"
        answer = answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    apps = SimpleNamespace(container_apps=SimpleNamespace(container_apps=SimpleNamespace(get=get)))
    monkeypatch.setattr(revisions, "Clients", lambda *_: apps)
    return found({name: name for name in answers}, "rg-assets-prod", subscription="1")


def test_azure_says_what_a_process_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    container = models.Container(
        name="worker",
        image="registry/app@sha256:5e",
        command=["celery", "worker"],
        args=[],
        env=[models.EnvironmentVar(name="QUEUE", value="a")],
        resources=models.ContainerResources(cpu=0.5, memory="1Gi"),
    )
    template = models.Template(containers=[container], revision_suffix="r7f3")
    made = models.ContainerApp(
        location="westeurope", properties=models.ContainerAppProperties(template=template)
    )
    assert ask(monkeypatch, worker=made, new=ResourceNotFoundError("none")) == {
        "worker": Running(
            image="registry/app@sha256:5e",
            command=("celery", "worker"),
            environment={"QUEUE": "a"},
            cores=0.5,
            suffix="r7f3",
        )
    }


def test_a_process_that_cannot_be_asked_stops_the_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    forbidden = HttpResponseError("does not have authorization")
    forbidden.status_code = 403
    with pytest.raises(TargetError, match="cannot see what the container app worker runs"):
        ask(monkeypatch, worker=forbidden)
