"""What `docker buildx build` is asked for, and that an image says what its artefact says of itself."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import itertools
import json
import os
import runpy
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.azure import image as layout
from components.release.manifest import Check, Manifest, Migration
from relevo import image
from relevo.errors import RelevoError
from stacks.settings import App, Build

ARTEFACT = f"app@sha256:{'3fa9' * 16}"
MANIFEST = Manifest(
    version="v2+hotfix",
    revision="0" * 40,
    built_at="2026-01-02T03:04:05.678Z",
    lock="sha256:0",
    python="3.12",
    migrations=(Migration(app="a", name="0001", effect="additive", reversible=True, operations=("Create",)),),
    heads={"a": ("0001",)},
    pipeline=(Check(name="lock has hashes", passed=True),),
)
# Docker is not everywhere: this writes down how it was called, and says what it would have pushed.
DOCKER_STAND_IN = """#!/bin/sh
for word; do echo "$word"; done >"$0.asked"
echo "$SOURCE_DATE_EPOCH" >"$0.epoch"
[ "$REGISTRY" = refuses ] && exit 1
while [ "$1" != --metadata-file ]; do shift; done
echo '{"containerimage.digest": "sha256:'"$(printf %064d 7)"'"}' >"$2"
"""


def app(**build: str) -> App:
    return App(settings="a.settings", wsgi="a.wsgi:application", build=Build.model_validate(build))


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER_STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return program


def asked(docker: Path, option: str) -> list[str]:
    words = Path(f"{docker}.asked").read_text().splitlines()
    return [following for word, following in itertools.pairwise(words) if word == option]


def test_an_image_carries_the_manifest_of_its_artefact() -> None:
    labels = image.recipe(MANIFEST, ARTEFACT, app(), postgresql="17").labels
    packed = base64.b64decode(labels["dev.relevo.manifest"])
    assert Manifest.from_json(gzip.decompress(packed).decode()) == MANIFEST
    assert labels["dev.relevo.lock"] == MANIFEST.lock
    assert labels["org.opencontainers.image.version"] == "v2+hotfix"


def test_the_same_artefact_asks_for_the_same_image() -> None:
    first, second = (image.recipe(MANIFEST, ARTEFACT, app(), postgresql="17") for _ in range(2))
    assert first == second
    assert first.tag == "v2-hotfix-3fa93fa93fa9"  # an image's tag takes no plus


def test_the_image_is_built_on_the_python_that_the_artefact_was_frozen_for() -> None:
    assert image.recipe(MANIFEST, ARTEFACT, app(), postgresql="17").arguments == {
        "BASE": "docker.io/library/python:3.12-slim-bookworm",
        "POSTGRESQL": "17",
        "PROJECT": "",
    }
    pinned = f"registry.example.org/python@sha256:{'0' * 64}"
    arguments = image.recipe(
        MANIFEST, ARTEFACT, app(base=pinned, project="backend"), postgresql="17"
    ).arguments
    assert arguments["BASE"] == pinned
    assert arguments["PROJECT"] == "backend/"


def test_one_manifest_is_pushed_with_the_times_of_the_artefact(docker: Path, tmp_path: Path) -> None:
    made = image.recipe(MANIFEST, ARTEFACT, app(), postgresql="17")
    report = tmp_path / "report.json"
    image.docker(image.arguments(made, f"cr.example.org/app:{made.tag}", tmp_path, report), epoch=1767323045)
    assert json.loads(report.read_text())["containerimage.digest"] == f"sha256:{7:064d}"
    assert asked(docker, "--output") == [
        "type=image,name=cr.example.org/app:v2-hotfix-3fa93fa93fa9,push=true,rewrite-timestamp=true"
    ]
    assert asked(docker, "--platform") == ["linux/amd64"]
    assert {"BASE=docker.io/library/python:3.12-slim-bookworm", "POSTGRESQL=17", "PROJECT="} == set(
        asked(docker, "--build-arg")
    )
    assert len(asked(docker, "--label")) == len(made.labels)
    assert Path(f"{docker}.epoch").read_text() == "1767323045\n"


def test_a_build_that_fails_is_one_line(
    docker: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REGISTRY", "refuses")
    with pytest.raises(RelevoError, match=r"^docker buildx build exited 1, see above; .*az acr login.*\.$"):
        image.docker(["buildx"], epoch=0)


def test_without_docker_nothing_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RelevoError, match=r"^docker is not on PATH, but .*; .*\.$"):
        image.docker(["buildx"], epoch=0)


SITE = "site.example.org"


class Served:
    """A project that notes how it is asked, behind the image's configuration of gunicorn."""

    def __init__(self, *, asgi: bool) -> None:
        self.asked: dict[str, str] = {}
        self._asgi = asgi
        project = self._asgi_project if asgi else self._wsgi_project
        self.worker = SimpleNamespace(wsgi=project)
        with tempfile.TemporaryDirectory() as folder:
            for file in (image.HERE / "gunicorn.py", image.GUNICORN_CONFIG):
                shutil.copy(file, folder)
            self.configuration = runpy.run_path(f"{folder}/gunicorn.py")
        self.configuration["post_worker_init"](self.worker)

    def _wsgi_project(self, environ: dict[str, str], start_response: Any) -> list[bytes]:
        self.asked = {"host": environ["HTTP_HOST"], "scheme": environ.get("HTTP_X_FORWARDED_PROTO", "")}
        start_response("200 OK", [])
        return [b"page"]

    async def _asgi_project(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked = {"host": headers["host"], "scheme": headers.get("x-forwarded-proto", "")}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"page"})

    def get(self, path: str, host: str) -> tuple[str, bytes]:
        """Status and body."""
        if not self._asgi:
            said: list[str] = []
            environ = {"PATH_INFO": path, "HTTP_HOST": host}
            body = b"".join(self.worker.wsgi(environ, lambda status, _: said.append(status)))
            return said[0].partition(" ")[0], body
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "path": path, "headers": [(b"host", host.encode())]}
        # Not asyncio.run, which leaves the thread without the loop that Pulumi's mocks look for.
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            loop.run_until_complete(self.worker.wsgi(scope, None, send))
        return str(sent[0]["status"]), sent[1]["body"]


@pytest.fixture(params=[False, True], ids=["wsgi", "asgi"])
def served(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Served:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEBSITE_HOSTNAME", SITE)
    return Served(asgi=request.param)


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("169.254.130.2:8000", SITE),
        ("169.254.130.2", SITE),
        ("www.example.org", "www.example.org"),
        ("169.254.evil.example.org", "169.254.evil.example.org"),
        ("10.0.0.4:8000", "10.0.0.4:8000"),
    ],
)
def test_only_the_platforms_own_pings_are_asked_as_visitors(served: Served, host: str, asked: str) -> None:
    assert served.get("/readyz/", host) == ("200", b"page")
    assert served.asked == {"host": asked, "scheme": "https" if asked == SITE else ""}


def test_a_process_says_that_it_lives_without_asking_the_project(served: Served) -> None:
    """Or an ill database would make every worker ill, and App Service would replace them all."""
    assert served.get(layout.ALIVE, "169.254.130.2:8000") == ("200", b"alive\n")
    assert served.asked == {}


def test_the_projects_own_configuration_of_gunicorn_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gunicorn.conf.py").write_text(
        "max_requests = 7\ndef post_worker_init(worker): worker.seen = worker.wsgi.__name__\n"
    )
    served = Served(asgi=False)
    assert served.configuration["max_requests"] == 7
    assert served.worker.seen == "_wsgi_project"
