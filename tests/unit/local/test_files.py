"""Paths, ports, secrets and durable files of a state folder."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from components.local import durable, ports
from components.local.layout import SOCKET_PATH, Layout
from components.local.secrets import VaultProvider
from components.local.vault import OWN, Vault
from components.release.chain import examine
from components.target import TargetError

WRITER = """\
import sys
from pathlib import Path
from components.local import durable
from components.release.chain import link

record, writer = Path(sys.argv[1]), int(sys.argv[2])
for number in range(25):
    durable.append(record, lambda earlier: link(earlier, {"number": [writer, number]}))
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "state")
    made.make()
    return made


@pytest.mark.parametrize("path", ["/a;b", "/a#b", '/a"b', "/a'b", "/a%b", "/a\nb", "/a:b", "relative"])
def test_a_state_folder_that_servers_cannot_read_is_refused(path: str) -> None:
    with pytest.raises(TargetError, match="relevo:stateDir is"):
        Layout(Path(path))


def test_a_state_folder_with_spaces_and_accents_is_fine() -> None:
    Layout(Path("/home/josé/my project/.relevo/local"))


def test_sockets_of_a_deep_state_folder_lie_in_a_private_folder_elsewhere(tmp_path: Path) -> None:
    deep = Layout(tmp_path / ("x" * 90) / "state")
    deep.make()
    try:
        assert deep.sockets != deep.run
        assert len(os.fsencode(deep.sockets / "supervisor.sock")) <= SOCKET_PATH
        assert stat.S_IMODE(deep.sockets.stat().st_mode) == 0o700
        deep.sockets.chmod(0o755)
        with pytest.raises(TargetError, match="is not a private folder of this user"):
            deep.make()
    finally:
        deep.sockets.rmdir()


def test_every_folder_is_private(layout: Layout) -> None:
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in layout.folders()} == {0o700}
    assert layout.made()


def test_a_port_is_free_and_kept(layout: Layout) -> None:
    port = ports.allocate(layout, "public", None)
    assert ports.allocate(layout, "public", None) == port
    assert ports.allocate(layout, "cache", None) != port
    assert not ports.drifted(layout, "public", port)


def test_a_kept_port_that_somebody_else_took_is_given_up(layout: Layout) -> None:
    port = ports.allocate(layout, "public", None)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert ports.drifted(layout, "public", port)
        assert ports.allocate(layout, "public", None) != port


def test_a_configured_port_that_is_taken_is_an_error(layout: Layout) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(TargetError) as error:
            ports.allocate(layout, "public", port)
    assert str(error.value) == (
        f"relevo:port is {port}, but another process listens there; choose another port or stop that process."
    )


def test_secrets_are_private_and_never_replaced(layout: Layout) -> None:
    vault = Vault(layout.secrets)
    vault.write("SECRET_KEY", "given")
    vault.generate(["SECRET_KEY", "JWT_SIGNING_KEY", *OWN])
    assert vault.read("SECRET_KEY") == "given"
    assert len(vault.read("JWT_SIGNING_KEY")) >= 48
    assert vault.names() == ["JWT_SIGNING_KEY", "SECRET_KEY"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in layout.secrets.iterdir()} == {0o600}
    assert len([path for path in layout.secrets.iterdir() if path.name[0] != "."]) == 2 + len(OWN)


def test_two_that_generate_at_once_agree(layout: Layout) -> None:
    vaults = [Vault(layout.secrets) for _ in range(8)]
    threads = [threading.Thread(target=vault.generate, args=(["KEY"],)) for vault in vaults]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in layout.secrets.iterdir()] == ["KEY"]


def test_a_secrets_version_changes_only_when_it_is_written(layout: Layout) -> None:
    vault, names = Vault(layout.secrets), ["GIVEN", "MADE", "MISSING"]
    vault.write("GIVEN", "one")
    vault.generate(["MADE"])
    vault.mark(names)
    first = vault.versions(names)
    assert set(first) == {"GIVEN", "MADE"}
    vault.generate(["MADE"])
    vault.mark(names)
    assert vault.versions(names) == first
    vault.write("GIVEN", "one")
    (layout.secrets / "MADE").unlink()
    vault.generate(["MADE"])
    vault.mark(names)
    assert not set(vault.versions(names).values()) & set(first.values()), "says nothing of the value"
    assert vault.names() == ["GIVEN", "MADE"]


def test_a_write_that_was_killed_halfway_counts_as_a_new_value(layout: Layout, monkeypatch) -> None:
    vault = Vault(layout.secrets)
    vault.write("KEY", "old")
    before = vault.versions(["KEY"])
    with monkeypatch.context() as patched:
        patched.setattr(vault, "mark", lambda names: None)
        vault.write("KEY", "new")
    vault.mark(["KEY"])
    assert vault.versions(["KEY"]) not in ({}, before)


def test_a_replaced_secret_is_a_change_and_nothing_else_is(layout: Layout) -> None:
    """`pulumi up` has nothing to do for a change that it cannot see."""
    provider, vault = VaultProvider(), Vault(layout.secrets)
    inputs = {"state": str(layout.root), "secrets": {"SECRET_KEY": True, "STRIPE_KEY": False}}
    outputs = provider.create(inputs).outs
    assert outputs is not None
    assert set(outputs["versions"]) == {"SECRET_KEY"}, "not the target's own"
    assert not provider.diff("", outputs, inputs).changes
    for value in ("given", "replaced"):
        vault.write("STRIPE_KEY", value)
        assert provider.diff("", outputs, inputs).changes
        updated = provider.update("", outputs, inputs).outs
        assert updated is not None
        assert updated["versions"]["SECRET_KEY"] == outputs["versions"]["SECRET_KEY"]
        assert not provider.diff("", updated, inputs).changes
        outputs = updated


def test_a_vault_from_before_there_were_versions_gets_them_once(layout: Layout) -> None:
    inputs = {"state": str(layout.root), "secrets": {"SECRET_KEY": True}}
    (layout.secrets / "SECRET_KEY").write_text("from before")
    provider = VaultProvider()
    outputs = provider.create(inputs).outs
    assert outputs is not None
    before = {name: value for name, value in outputs.items() if name != "versions"}
    for path in layout.secrets.glob(".*.version"):
        path.unlink()
    assert provider.diff("", before, inputs).changes
    updated = provider.update("", before, inputs).outs
    assert updated is not None
    assert not provider.diff("", updated, inputs).changes


def test_a_missing_secret_is_named(layout: Layout) -> None:
    vault = Vault(layout.secrets)
    (layout.secrets / "EMPTY").touch(mode=0o600)
    assert vault.missing(["SECRET_KEY", "EMPTY"]) == ["SECRET_KEY", "EMPTY"]
    with pytest.raises(TargetError, match="secret SECRET_KEY is missing"):
        vault.read("SECRET_KEY")


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "1"])
def test_a_secrets_name_never_leaves_the_vault(layout: Layout, name: str) -> None:
    with pytest.raises(TargetError, match="is not a secret's name"):
        Vault(layout.secrets).write(name, "x")


def test_half_a_line_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    record = tmp_path / "record"
    durable.append(record, lambda _: "one")
    record.write_text(record.read_text() + '{"half')
    durable.append(record, lambda _: "two")
    assert record.read_text().splitlines() == ["one", '{"half', "two"]


def test_many_processes_write_one_chain(tmp_path: Path) -> None:
    """Each entry follows the one before it, whoever wrote that; and a crash in between is sealed."""
    record = tmp_path / "record"
    record.write_bytes(b'{"half')
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(record), str(writer)]) for writer in range(8)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 8
    written = record.read_bytes()
    found = examine(written)
    assert (found.count, found.faults) == (1 + 8 * 25, ())
    assert found.sealed == ("line 1 has no hash, and line 2 seals them",)
    numbers = [json.loads(line)["number"] for line in written.splitlines()[1:]]
    for writer in range(8):
        assert [number for by, number in numbers if by == writer] == list(range(25))


def test_what_does_not_fit_on_the_disk_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "record"
    durable.append(record, lambda _: "one")
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, data[:3], at))
    with pytest.raises(OSError, match="No space left on device"):
        durable.append(record, lambda _: "two")
    monkeypatch.undo()
    assert record.read_text() == "one\n"


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "file"
    durable.write(file, "old")
    with pytest.raises(UnicodeEncodeError):
        durable.write(file, "\ud800")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
