"""Python environments installed from a lock, one for all artefacts whose lock and Python are equal."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from relevo.errors import RelevoError
from relevo.lock import run_uv

MARK = "relevo-complete"
# Bytecode that is never compared with its source: neither changes once it is installed.
BYTECODE = {"PYC_INVALIDATION_MODE": "UNCHECKED_HASH"}


def version_of(configured: str | None) -> str:
    return configured or f"{sys.version_info.major}.{sys.version_info.minor}"


def interpreter(python: str) -> Path:
    """The program of a Python `python` ("3.12") on this machine. Raises `RelevoError` if there is none."""
    if python == version_of(None):
        return Path(getattr(sys, "_base_executable", sys.executable))
    fault = (
        f"relevo:app.build.python is {python}, but none is found on this machine (uv python install {python})"
    )
    return Path(run_uv(["python", "find", python], fault=fault).strip())


def name_of(lock: str, python: str) -> str:
    # Half of the digits: the whole path must fit into the first line of the environment's scripts.
    return f"{hashlib.sha256(lock.encode()).hexdigest()[:32]}-py{python}"


def is_complete(folder: Path) -> bool:
    """Installed to the end, and its Python is still on the machine."""
    return (folder / MARK).is_file() and (folder / "bin" / "python").exists()


def install(
    folder: Path,
    lock: str,
    program: Path,
    python: str,
    *,
    project: Path,
    held: int,
    say: Callable[[str], None],
) -> None:
    """Make the environment in `folder` itself, since its scripts name it; the mark is written last.

    `project` is where uv finds the project's own settings, such as another registry. Whoever calls holds the
    store's lock, whose descriptor is `held`.
    """
    if folder.exists():
        say(f"the environment {folder.name} was left half-made; making it again")
        shutil.rmtree(folder)
    say(f"installing the lock's packages for Python {python}")
    try:
        run_uv(
            ["venv", "--quiet", "--no-project", "--python", str(program), str(folder)],
            fault=f"no environment for Python {python} can be made",
            held=held,
        )
        requirements = folder / "requirements-lock.txt"
        requirements.write_text(lock)
        run_uv(
            [
                *("pip", "install", "--quiet", "--require-hashes", "--compile-bytecode"),
                *("--python", str(folder / "bin" / "python"), "-r", str(requirements)),
            ],
            folder=project,
            fault="the lock cannot be installed",
            variables=BYTECODE,
            held=held,
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / MARK).write_text(f"{python}\n")


def fits_together(folder: Path) -> str:
    """Empty where all dependencies of the installed packages are met, else what is not."""
    try:
        run_uv(["pip", "check", "--quiet", "--python", str(folder / "bin" / "python")], fault="pip check")
    except RelevoError as error:
        return str(error)
    return ""


def compile_source(folder: Path, source: Path, *, final: Path) -> None:
    """Bytecode for `source`, which will lie in `final`. What is not valid Python is for Django to find."""
    subprocess.run(
        [
            *(str(folder / "bin" / "python"), "-m", "compileall", "-q", "-j", "0"),
            *("--invalidation-mode", "unchecked-hash", "-s", str(source), "-p", str(final), str(source)),
        ],
        capture_output=True,
        check=False,
    )
