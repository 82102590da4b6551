"""No secret shows in what a release prints, keeps, or runs: looked for by the real values."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

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
    site: Project, digests: dict[str, str], store: Path
) -> None:
    site.have(digests["v1"])
    site.release(digests["v2"], preview=True)
    arguments = " ".join(
        " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])
    )
    site.release(digests["broken-migration"], status=1)
    site.preview()
    for command in ("status", "logs", "releases"):
        site.run("relevo", command)
    printed = site.printed
    state = site.run("pulumi", "stack", "export", "--show-secrets")

    layout = Layout(site.state.resolve())
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
        *files(site.folder, but=(layout.secrets, site.folder / ".venv")),
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
