"""What plain `pulumi` in an activated environment relies on."""

import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relevo.toolchain import launcher


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(launcher, "STATE", tmp_path / ".relevo")
    return tmp_path


def write_lock(backend: Path, **changes: object) -> Path:
    lock = backend / ".pulumi" / "locks" / "organization" / "relevo" / "local" / "x.json"
    lock.parent.mkdir(parents=True)
    holder = {
        "pid": os.getpid(),
        "username": "ana",
        "hostname": os.uname().nodename,
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "123Z"),
    }
    lock.write_text(json.dumps(holder | changes))
    return lock


def test_a_local_stack_gets_a_backend_and_a_passphrase(checkout: Path):
    environment = {"PATH": "/usr/bin"}
    launcher.prepare(environment, "/opt/pulumi/bin/pulumi", own_home=False)
    assert environment["PULUMI_BACKEND_URL"] == f"file://{checkout}/.relevo/pulumi?metadata=skip"
    assert (checkout / ".relevo" / "pulumi").is_dir()
    passphrase = Path(environment["PULUMI_CONFIG_PASSPHRASE_FILE"])
    assert len(passphrase.read_text()) >= 32
    assert stat.S_IMODE(passphrase.stat().st_mode) == 0o600
    assert environment["PATH"].split(":")[1:] == ["/opt/pulumi/bin", "/usr/bin"]


def test_the_official_engine_keeps_its_home_and_its_downloads():
    environment: dict[str, str] = {}
    launcher.prepare(environment, "/opt/pulumi/bin/pulumi", own_home=False)
    assert environment.keys().isdisjoint({"PULUMI_HOME", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"})


def test_an_engine_with_our_parts_has_a_home_of_its_own(checkout: Path):
    environment: dict[str, str] = {}
    launcher.prepare(environment, "/x/pulumi", own_home=True)
    assert environment["PULUMI_HOME"] == str(checkout / ".relevo" / "pulumi-home")
    assert environment["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "1"


@pytest.mark.parametrize("own_home", [True, False])
def test_what_the_caller_has_set_wins(checkout: Path, own_home: bool):
    given = {
        "PULUMI_BACKEND_URL": "s3://bucket",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "0",
        "PULUMI_HOME": "/h",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "0",
    }
    environment = dict(given)
    launcher.prepare(environment, "/x/pulumi", own_home=own_home)
    assert environment.items() >= given.items()
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in environment
    assert not (checkout / ".relevo").exists()


def test_the_passphrase_is_made_once(checkout: Path):
    file = checkout / "passphrase"
    first = launcher.ensure_passphrase(file).read_text()
    assert launcher.ensure_passphrase(file).read_text() == first
    assert list(checkout.iterdir()) == [file]


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": 2**22 + 1},  # beyond the largest pid
        {},  # alive, but no pulumi
        {"timestamp": "2001-02-03T04:05:06.789123456Z"},  # alive, but younger than the lock
    ],
)
def test_the_lock_of_a_killed_engine_is_removed(checkout: Path, changes):
    lock = write_lock(checkout, **changes)
    assert launcher.remove_stale_locks(checkout.as_uri()) == [lock]
    assert not lock.exists()


def test_a_lock_that_may_be_alive_stays(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("psutil.Process.name", lambda _: "pulumi")
    lock = write_lock(checkout)
    assert launcher.remove_stale_locks(checkout.as_uri()) == []
    assert lock.exists()


@pytest.mark.parametrize("changes", [{"hostname": "elsewhere", "pid": 2**22 + 1}, {"timestamp": None}])
def test_a_lock_of_another_host_or_that_cannot_be_read_stays(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, changes
):
    monkeypatch.setattr("psutil.Process.name", lambda _: "pulumi")
    lock = write_lock(checkout, **changes)
    assert launcher.remove_stale_locks(checkout.as_uri()) == []
    assert lock.exists()


def test_a_half_written_lock_stays(checkout: Path):
    lock = write_lock(checkout)
    lock.write_text("{")
    assert launcher.remove_stale_locks(checkout.as_uri()) == []
    assert lock.exists()


def test_the_locks_of_a_shared_backend_are_left_alone():
    assert launcher.remove_stale_locks("azblob://state") == []


def test_times_of_go_are_read():
    """Nanoseconds, with trailing zeros left out, and any offset."""
    for text in ("2026-11-24T13:54:32Z", "2026-11-24T13:54:32.5Z", "2026-11-24T10:54:32.123456789-03:00"):
        found = datetime.fromtimestamp(launcher.written_at(text), UTC)
        assert found - datetime(2026, 11, 24, 13, 54, 32, tzinfo=UTC) < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("arguments", "local"),
    [
        (["up", "--stack", "local", "--yes"], True),
        (["preview", "-s", "organization/relevo/local"], True),
        (["up", "--stack=prod"], False),
        (["up", "--stack", "unheard-of"], False),
        (["up"], False),
    ],
)
def test_the_rules_for_azure_are_asked_of_every_stack_that_is_not_known_as_local(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], local: bool
):
    monkeypatch.setattr(launcher, "CHECKOUT", checkout)
    (checkout / "Pulumi.local.yaml").write_text("config:\n  relevo:target: local\n")
    (checkout / "Pulumi.prod.yaml").write_text("config:\n  relevo:target: azure\n")
    assert launcher.is_local(arguments, checkout) is local
    elsewhere = checkout / "elsewhere"
    elsewhere.mkdir()
    assert launcher.is_local([*arguments, "-C", str(elsewhere)], checkout)
