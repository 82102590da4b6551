"""Who is in rotation is read, not remembered: nobody is sent to an instance that no roll has put in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from components.azure import origins
from components.azure.naming import Names
from components.azure.origins import DISABLED, ENABLED, Found, found, states
from components.target import TargetError

HOSTS = {name: f"{name}.example" for name in ("instance-1", "instance-2", "instance-3")}


def as_it_is(**states: str) -> dict[str, Found]:
    names = {f"instance-{name.removeprefix('i')}": state for name, state in states.items()}
    return {name: Found(host=HOSTS[name], state=state) for name, state in names.items()}


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param({}, (ENABLED, ENABLED, ENABLED), id="a new stack, where nothing is released"),
        pytest.param(as_it_is(i1=ENABLED, i2=ENABLED), (ENABLED, ENABLED, DISABLED), id="one more"),
        pytest.param(
            as_it_is(i1=DISABLED, i2=ENABLED, i3=ENABLED), (DISABLED, ENABLED, ENABLED), id="a killed roll"
        ),
        pytest.param(
            {
                **as_it_is(i1=ENABLED, i3=ENABLED),
                "instance-2": Found(host="of-the-first-region.example", state=ENABLED),
            },
            (ENABLED, DISABLED, ENABLED),
            id="one that moves",
        ),
    ],
)
def test_an_instance_keeps_its_state_and_an_empty_one_is_out(
    known: dict[str, Found], expected: tuple[str, ...]
) -> None:
    assert tuple(states(HOSTS, known).values()) == expected


def ask(monkeypatch: pytest.MonkeyPatch, answer: Any) -> dict[str, Found]:
    def listed(*at: str) -> Any:
        assert at == ("rg-assets-prod", "afd-assets-prod", "app")
        if isinstance(answer, Exception):
            raise answer
        return answer

    service = SimpleNamespace(afd_origins=SimpleNamespace(list_by_origin_group=listed))
    monkeypatch.setattr(origins, "Clients", lambda *_: SimpleNamespace(front_door=service))
    return found(Names("assets", "prod"), subscription="11111111-1111-1111-1111-111111111111")


def test_azure_says_who_is_in_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(host_name="one.example", enabled_state="Disabled")
    answer = [SimpleNamespace(name="instance-1", properties=properties)]
    assert ask(monkeypatch, answer) == {"instance-1": Found(host="one.example", state=DISABLED)}
    assert ask(monkeypatch, ResourceNotFoundError("no such profile")) == {}


def test_who_may_not_ask_gets_no_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    forbidden = HttpResponseError("does not have authorization")
    forbidden.status_code = 403
    with pytest.raises(TargetError, match="cannot see which instances of afd-assets-prod are in rotation"):
        ask(monkeypatch, forbidden)
