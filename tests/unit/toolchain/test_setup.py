"""The parts of `make setup` that decide something; that all of it works is shown by every other test."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from relevo.toolchain import setup
from relevo.toolchain.setup import NoStack, NotOurs, drop_foreign_salt

SALT = "encryptionsalt: v1:abc:v1:def\n"


@pytest.mark.parametrize("text", [SALT + "config:\n  a: b\n", "config:\n  a: b\n" + SALT])
def test_the_salt_of_another_checkout_is_dropped_and_nothing_else(tmp_path: Path, text, capsys):
    config = tmp_path / "Pulumi.local.yaml"
    config.write_text(text)
    drop_foreign_salt(config)
    assert config.read_text() == "config:\n  a: b\n"
    assert "removing from Pulumi.local.yaml the encryptionsalt" in capsys.readouterr().out


@pytest.mark.parametrize("secret", ["  a:\n    secure: v1:x\n", "  a:\n  - secure: v1:x\n"])
def test_secrets_that_cannot_be_read_here_are_never_thrown_away(tmp_path: Path, secret):
    config = tmp_path / "Pulumi.local.yaml"
    config.write_text(text := SALT + "config:\n" + secret)
    with pytest.raises(NoStack, match="secrets of another checkout's passphrase"):
        drop_foreign_salt(config)
    assert config.read_text() == text


def test_a_config_without_salt_or_none_at_all_is_left_alone(tmp_path: Path):
    config = tmp_path / "Pulumi.local.yaml"
    drop_foreign_salt(config)
    assert not config.exists()
    config.write_text("config: {}\n")
    drop_foreign_salt(config)
    assert config.read_text() == "config: {}\n"


@pytest.mark.parametrize(("version", "found"), [("Python 3.9.2", "Python 3.9.2"), (None, "missing")])
def test_without_a_new_enough_python_the_error_says_so_before_anything_is_made(
    tmp_path: Path, version, found
):
    """The checkout is one that has only the script, so that nothing could be made by mistake."""
    script = tmp_path / "relevo" / "toolchain" / "environment.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(Path(setup.__file__).with_name("environment.sh"), script)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "dirname").symlink_to(shutil.which("dirname") or "")
    if version:
        python = tools / "python3"
        python.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo {version} && exit 0\nexit 1\n')
        python.chmod(0o755)
    done = subprocess.run(
        [shutil.which("bash") or "", script], env={"PATH": str(tools)}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == f"python3 is {found}, but 3.11 or newer is needed; install it and put it on PATH.\n"
    assert not (tmp_path / ".venv").exists()


def test_an_environment_that_runs_the_code_of_another_checkout_is_left_alone(tmp_path: Path):
    """Else its engine would be exchanged below the other one, as in a worktree that has its .venv linked."""
    other, here = tmp_path / "the other", tmp_path / "here"
    for folder in (other, here):
        folder.mkdir()
    installed = other / ".venv/lib/python3.11/site-packages/relevo-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: relevo\nVersion: 0\n")
    (installed / "direct_url.json").write_text(json.dumps({"url": other.as_uri(), "dir_info": {}}))
    (here / ".venv").symlink_to(other / ".venv")

    setup.belongs_to(other, other / ".venv")
    with pytest.raises(NotOurs, match=r"relevo of .*the other installed, but this checkout is .*here"):
        setup.belongs_to(here, here / ".venv")
