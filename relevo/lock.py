"""Dependencies frozen to one lock: exact versions with hashes, nothing else is ever installed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from uv import find_uv_bin

from relevo.errors import RelevoError, one_line
from stacks.settings import App, Build

DRIVERS = ("psycopg", "psycopg2", "psycopg2-binary")
# What would make uv work on the caller's own environment or project instead of the one given to it.
FOREIGN = (
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYTHONPATH",
    "PYTHONHOME",
    "UV_PROJECT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
)


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One requirement of a lock, `text` as it stands there with its hashes."""

    name: str
    text: str


def freeze(build: Build, project: Path, interpreter: Path, python: str) -> str:
    """The text of the lock for the committed source in `project`.

    A committed lock is taken as it is; `build.packages` are added to it, and none of its pins and hashes
    change. Without one, the requirements are resolved for all platforms, so that machines agree as long as
    the registry answers the same. What is not promised: that a version published in between changes nothing.
    Only a committed lock promises that.
    """
    committed = None
    if build.lock is not None:
        committed = _committed(project, build.lock, "lock")
        pins(committed, build.lock)
        if not build.packages:
            return committed
    source = build.lock or build.requirements
    if build.lock is None:
        _committed(project, source, "requirements")
    constraints: list[str] = []
    if build.constraints is not None:
        _committed(project, build.constraints, "constraints")
        constraints = ["--constraints", build.constraints]
    resolved = run_uv(
        # No annotations and no header: they name files and folders, and equal locks share an environment.
        [
            *(
                "pip",
                "compile",
                "--quiet",
                "--generate-hashes",
                "--universal",
                "--no-header",
                "--no-annotate",
            ),
            *("--python", str(interpreter), "--python-version", python, *constraints, source),
            *(["-"] if build.packages else []),
        ],
        folder=project,
        fault=f"{source} cannot be resolved for Python {python}",
        given="".join(f"{package}\n" for package in build.packages),
    )
    found = pins(resolved, source)
    if committed is None:
        return resolved
    # uv would take hashes anew from the registry; the committed ones are what somebody has reviewed.
    kept = {pin.name for pin in pins(committed, source)}
    added = "".join(pin.text for pin in found if pin.name not in kept)
    return f"{committed.rstrip()}\n{added}"


def pins(lock: str, named: str) -> list[Pin]:
    """Every requirement of a lock. Raises `RelevoError` for one without exact version or hash."""
    found = []
    for text in _entries(lock):
        line = " ".join(text.replace("\\\n", " ").split())
        if line.startswith("-"):
            if line.split("=")[0].split()[0] in (
                "-r",
                "--requirement",
                "-c",
                "--constraint",
                "-e",
                "--editable",
            ):
                raise RelevoError(f"{named} has {line}, but a lock is complete in itself; {_RENEW}.")
            continue
        stated, *hashes = line.split(" --hash=")
        try:
            requirement = Requirement(stated.split(" #")[0])
        except InvalidRequirement:
            raise RelevoError(
                f"{named} has {stated}, but only NAME==VERSION with hashes is accepted (nothing local, no "
                f"repository); publish it to a registry, or commit it as a wheel's content."
            ) from None
        if not hashes:
            raise RelevoError(f"{named} has {stated} without a hash, but each needs one; {_RENEW}.")
        if not requirement.url and not _is_exact(requirement):
            raise RelevoError(f"{named} has {stated}, but only an exact version is accepted; {_RENEW}.")
        found.append(Pin(name=canonicalize_name(requirement.name), text=text))
    return found


def require_servers(lock: str, app: App) -> None:
    """Raises `RelevoError` where the lock lacks what runs the project or its way to the database."""
    names = {pin.name for pin in pins(lock, "the lock")}
    needed = [
        ("gunicorn", ("gunicorn",), "the application server"),
        ("psycopg[binary]", DRIVERS, "the driver for PostgreSQL"),
    ]
    if app.asgi is not None and app.worker_class is None:
        needed.append(("uvicorn-worker", ("uvicorn-worker",), "the worker for ASGI"))
    for package, accepted, role in needed:
        if names.isdisjoint(accepted):
            raise RelevoError(
                f"the lock has no {' or '.join(accepted)}, but {role} is needed; "
                f"add {package} to the project's requirements or to relevo:app.build.packages."
            )


def run_uv(
    arguments: list[str],
    *,
    fault: str,
    folder: Path | None = None,
    given: str = "",
    variables: dict[str, str] | None = None,
    held: int | None = None,
) -> str:
    """stdout of uv. `held`: a lock's descriptor, kept by uv too, so that an orphan still holds it."""
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    done = subprocess.run(
        [find_uv_bin(), *arguments],
        cwd=folder,
        # Like pip, uv is to trust the certificates that the machine trusts, unless the caller says otherwise.
        env={"UV_SYSTEM_CERTS": "1", **environment, "UV_PYTHON_DOWNLOADS": "never", **(variables or {})},
        input=given,
        capture_output=True,
        text=True,
        pass_fds=() if held is None else (held,),
        check=False,
    )
    if done.returncode:
        raise RelevoError(f"{fault}: {one_line(done.stderr)}; correct it and build again.")
    return done.stdout


_RENEW = "renew it with uv pip compile --generate-hashes"


def _is_exact(requirement: Requirement) -> bool:
    versions = list(requirement.specifier)
    return len(versions) == 1 and versions[0].operator in ("==", "===") and "*" not in versions[0].version


def _committed(project: Path, path: str, key: str) -> str:
    try:
        return (project / path).read_text()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise RelevoError(
            f"relevo:app.build.{key} is {path}, but no such file is committed; commit it or correct the key."
        ) from None
    except UnicodeDecodeError:
        raise RelevoError(f"relevo:app.build.{key} is {path}, but that is not UTF-8; correct it.") from None


def _entries(lock: str) -> Iterator[str]:
    """Each requirement with its continuation lines; comments are left out."""
    entry = ""
    for line in lock.splitlines(keepends=True):
        if line.lstrip().startswith("#") or (not entry and not line.strip()):
            continue
        entry += line
        if not line.rstrip().endswith("\\"):
            yield entry
            entry = ""
    if entry.strip():
        yield entry
