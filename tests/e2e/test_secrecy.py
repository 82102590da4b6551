"""No secret shows in what a release prints, keeps, or runs: looked for by the real values."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.local.layout import Layout
from components.local.vault import Vault
from tests.e2e.project import Project

pytestmark = pytest.mark.e2e


def disguises(value: str) -> set[bytes]:
    """The value as it may stand in text, JSON, a URL, or base64."""
    forms = {value, json.dumps(value)[1:-1], urllib.parse.quote(value, safe="")}
    return {form.encode() for form in forms} | {base64.b64encode(value.encode()).rstrip(b"=")}


def files(folder: Path, *, but: tuple[Path, ...]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not any(path.is_relative_to(other) for other in but):
            yield path


def test_no_secret_shows_in_a_good_and_a_broken_release(
    new_project: Callable[..., Project], configuration: dict[str, Any], digests: dict[str, str], store: Path
) -> None:
    project = new_project("secrecy", configuration)
    printed = project.release(digests["v1"])
    arguments = " ".join(
        " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])
    )
    printed += project.release(digests["broken-migration"], status=1)
    printed += project.preview() + project.run("relevo", "status") + project.run("relevo", "logs")
    printed += project.run("relevo", "releases")
    state = project.run("pulumi", "stack", "export", "--show-secrets")

    layout = Layout(project.state.resolve())
    vault = Vault(layout.secrets)
    values = {name: vault.read(name) for name in vault.names()}
    assert values.keys() >= {"SECRET_KEY", "JWT_SIGNING_KEY", "SMOKE_PASSWORD"}
    forms = {name: disguises(value) for name, value in values.items()}

    def shown(text: bytes) -> list[str]:
        return [name for name, variants in forms.items() if any(variant in text for variant in variants)]

    assert shown(printed.encode()) == []
    assert shown(state.encode()) == []
    assert shown(arguments.encode()) == []
    # PostgreSQL's own folder has the passwords only as SCRAM verifiers; the vault is where they belong.
    looked_at = [
        *files(project.folder, but=(layout.secrets, project.folder / ".venv")),
        *(path for image in store.glob("app@sha256:*") for path in files(image, but=())),
    ]
    assert {path: names for path in looked_at if (names := shown(path.read_bytes()))} == {}
    assert len(looked_at) > 100
    assert layout.secrets.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in layout.secrets.iterdir())


def test_git_would_not_take_a_secret_along() -> None:
    """Everything of a stack lies in a folder that the checkout ignores."""
    root = Path(__file__).parents[2]
    ignored = subprocess.run(["git", "-C", root, "check-ignore", ".relevo/local/secrets/X"], check=False)
    assert ignored.returncode == 0
