"""A Pulumi project of a test: the checkout's program with the configuration, state and servers of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from components.release import record

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv" / "bin"


class Project:
    """`folder` becomes a Pulumi project with one local stack. Commands run as a user types them."""

    def __init__(self, folder: Path, stack: str = "local") -> None:
        self.folder = folder
        self.stack = stack
        self.configuration = folder / f"Pulumi.{stack}.yaml"
        self.printed = ""
        """By all commands that were run."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("Pulumi.yaml", "__main__.py"):
            shutil.copy(ROOT / name, folder / name)
        (folder / ".venv").symlink_to(ROOT / ".venv")
        backend = folder / ".relevo" / "pulumi"
        backend.mkdir(parents=True)
        passphrase = folder / ".relevo" / "passphrase"
        passphrase.write_text(secrets.token_urlsafe(24))
        passphrase.chmod(0o600)
        self.environment = {
            **os.environ,
            "PATH": f"{TOOLS}:{os.environ['PATH']}",
            "PULUMI_BACKEND_URL": f"file://{backend}?metadata=skip",  # as the launcher sets it
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase),
        }

    @property
    def state(self) -> Path:
        return self.folder / ".relevo" / self.stack

    def configure(self, relevo: Mapping[str, Any]) -> None:
        """Write the stack's configuration anew, keeping what pulumi and `relevo pin` wrote there."""
        document = self._document()
        kept = {key: document["config"][key] for key in ("relevo:image",) if key in document["config"]}
        document["config"] = {**{f"relevo:{key}": value for key, value in relevo.items()}, **kept}
        self._write(document)

    def set(self, key: str, value: Any) -> None:
        document = self._document()
        document["config"][f"relevo:{key}"] = value
        self._write(document)

    def unset(self, key: str) -> None:
        document = self._document()
        document["config"].pop(f"relevo:{key}", None)
        self._write(document)

    def _document(self) -> dict[str, Any]:
        text = self.configuration.read_text() if self.configuration.exists() else ""
        document = YAML(typ="safe").load(text) or {}
        return {**document, "config": document.get("config") or {}}

    def _write(self, document: dict[str, Any]) -> None:
        yaml = YAML()
        yaml.width = 4096  # a digest stays on the line of its key
        with self.configuration.open("w") as file:
            yaml.dump(document, file)

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """A command in its own session, its two outputs in one pipe."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )

    def run(self, *command: str, status: int | None = 0, timeout: float = 300) -> str:
        """The command's whole output. `status` None accepts any exit status."""
        process = self.start(*command)
        try:
            output, _ = process.communicate(timeout=timeout)
        finally:
            self.end(process)
        self.printed += output
        assert status is None or process.returncode == status, (
            f"{' '.join(command)} exited {process.returncode}:\n{output}"
        )
        return output

    def end(self, process: subprocess.Popen[str]) -> None:
        """With all of its session; nothing where it has ended by itself."""
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def init(self) -> None:
        self.run("pulumi", "stack", "init", self.stack)

    def up_command(self, *, preview: bool) -> tuple[str, ...]:
        """As a user types it, or without the preview that comes first, which is two seconds quicker.

        What a preview would refuse fails only in the update then, which has changed the state.
        """
        return ("pulumi", "up", "--stack", self.stack, "--yes", *(() if preview else ("--skip-preview",)))

    def up(self, *, status: int | None = 0, timeout: float = 300, preview: bool = True) -> str:
        return self.run(*self.up_command(preview=preview), status=status, timeout=timeout)

    def preview(self, *arguments: str, status: int | None = 0) -> str:
        return self.run("pulumi", "preview", "--stack", self.stack, *arguments, status=status)

    def build(self, repository: Path, tag: str | None = None) -> str:
        """The digest of the repository's artefact, at a tag where one is given."""
        if tag is not None:
            subprocess.run(
                ["git", "-C", repository, "checkout", "--quiet", tag], check=True, capture_output=True
            )
        output = self.run("relevo", "build", str(repository), "--stack", self.stack, timeout=600)
        return output.splitlines()[-1]

    def pin(self, digest: str) -> None:
        self.run("relevo", "pin", digest, "--stack", self.stack)

    def release(self, digest: str, *, status: int | None = 0, preview: bool = False) -> str:
        self.pin(digest)
        return self.up(status=status, preview=preview)

    def have(self, digest: str) -> None:
        """Have the digest released; nothing is done where the last release was that and succeeded."""
        last = self.last_release()
        if last is None or (last.image, last.verdict) != (digest, "succeeded"):
            self.release(digest)

    @property
    def url(self) -> str:
        return self.run("relevo", "url", "--stack", self.stack).strip()

    @property
    def exported(self) -> str:
        return self.run("pulumi", "stack", "export", "--stack", self.stack)

    def record(self) -> list[dict[str, Any]]:
        """Every entry of the record, oldest first."""
        return [json.loads(line) for line in self.record_as_it_is().splitlines()]

    def record_as_it_is(self) -> bytes:
        file = self.state / "logbook" / "releases.jsonl"
        return file.read_bytes() if file.exists() else b""

    def last_release(self) -> record.Release | None:
        """The release that was opened last, as the record has it."""
        return record.current(record.releases(record.parse(self.record_as_it_is())))

    def processes(self) -> Iterator[psutil.Process]:
        """Processes that belong to this project's target, by the marker in their environment."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("RELEVO_PROGRAM", "").startswith(str(self.folder)):
                    yield process

    def versions(self) -> dict[str, str]:
        """Program → the version that its processes were started with, from the processes themselves."""
        found = {}
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                environment = process.environ()
                if "RELEVO_VERSION" in environment:
                    found[environment["RELEVO_PROGRAM"].rpartition("/")[2]] = environment["RELEVO_VERSION"]
        return found

    def remove(self) -> None:
        """Destroy the stack and its data; fails when a process is left."""
        if self.configuration.exists():
            self.run("pulumi", "cancel", "--stack", self.stack, "--yes", status=None)
            self.run("pulumi", "destroy", "--stack", self.stack, "--yes", "--skip-preview", status=None)
            self.run("relevo", "purge", "--stack", self.stack, "--yes", status=None)
        left = list(self.processes())
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        assert not left, f"left running: {left}"


def committed_configuration() -> dict[str, Any]:
    """That of the local stack, its paths made absolute, and without the watch, which has its own test."""
    document = YAML(typ="safe").load((ROOT / "Pulumi.local.yaml").read_text())
    settings = {key.removeprefix("relevo:"): value for key, value in document["config"].items()}
    settings.pop("image", None)
    settings["watch"] = {"minutes": 0}
    settings["smoke"] = str(ROOT / settings["smoke"])
    return settings


@contextlib.contextmanager
def up_in_step(project: Project, step: str) -> Iterator[subprocess.Popen[str]]:
    """A `pulumi up`, as soon as the record says that the step has begun. Killed with -9 at the end."""
    before = len(project.record())
    process = project.start(*project.up_command(preview=False))
    try:
        deadline = time.monotonic() + 120
        while not any(
            entry["event"] == "step started" and entry["step"] == step for entry in project.record()[before:]
        ):
            assert process.poll() is None, f"up ended before {step}: {process.communicate()[0]}"
            assert time.monotonic() < deadline, f"{step} never began"
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()
