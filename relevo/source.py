"""The committed source of a folder in a git repository: the exact bytes of its blobs at HEAD."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from relevo import git
from relevo.errors import RelevoError, one_line

FILE, PROGRAM, LINK, SUBMODULE = "100644", "100755", "120000", "160000"
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A folder at HEAD. `files`: path inside the folder → (git mode, blob id)."""

    folder: Path
    revision: str
    version: str  # git describe: the exact tag where there is one
    changed: int  # paths of the folder that differ from HEAD, and are not part of it
    files: Mapping[str, tuple[str, str]]


def read(folder: Path) -> Source:
    """Raises `RelevoError` where there is no commit, or something that cannot be frozen."""
    if not folder.is_dir():
        raise RelevoError(f"{folder} is not a folder, but a project's folder is needed; give its path.")
    if shutil.which("git") is None:
        raise RelevoError("git is not on PATH, but only committed source is built; install git.")
    try:
        prefix = git.run(folder, "rev-parse", "--show-prefix").strip()
    except subprocess.CalledProcessError as error:
        raise RelevoError(
            f"{folder} cannot be read as a git repository, but only committed source is built "
            f"({one_line(error.stderr)}); commit the project first."
        ) from None
    try:
        revision = git.run(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").strip()
        listing = git.run(folder, "ls-tree", "-r", "-z", "--full-tree", f"{revision}:{prefix}")
    except subprocess.CalledProcessError:
        raise RelevoError(
            f"{folder} has nothing committed, but only committed source is built; commit it."
        ) from None
    files: dict[str, tuple[str, str]] = {}
    for entry in listing.split("\0")[:-1]:
        about, _, path = entry.partition("\t")
        mode, _, blob = about.split(" ")
        _accept(path, mode)
        if (
            "__pycache__" not in PurePosixPath(path).parts
        ):  # bytecode is made at build, for the Python that runs it
            files[path] = (mode, blob)
    status = git.run(folder, "status", "--porcelain", "-z", "--", ".")
    return Source(
        folder=folder,
        revision=revision,
        version=git.run(folder, "describe", "--tags", "--always", revision).strip(),
        changed=len([entry for entry in status.split("\0") if entry]),
        files=files,
    )


def write(source: Source, target: Path) -> dict[str, tuple[str, str]]:
    """Write the files into `target`, a new folder; returns path → (mode, SHA-256 of the content).

    Raises `RelevoError` for links that lead out of the folder and for contents that are not there (Git LFS).
    """
    target.mkdir(parents=True)
    written: dict[str, tuple[str, str]] = {}
    pointers, links = [], []
    process = subprocess.Popen(
        ["git", "cat-file", "--batch"],
        cwd=source.folder,
        env=git.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    with process, process.stdin, process.stdout:
        for path, (mode, blob) in sorted(source.files.items()):
            process.stdin.write(f"{blob}\n".encode())
            process.stdin.flush()
            header = process.stdout.readline().split()
            if len(header) != 3 or header[1] != b"blob":
                raise RelevoError(
                    f"{path} is not in the repository's objects, but is part of {source.revision[:12]}; "
                    f"fetch the repository whole."
                )
            content = process.stdout.read(int(header[2]))
            process.stdout.read(1)
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if mode == LINK:
                file.symlink_to(os.fsdecode(content))
                links.append(path)
            else:
                file.write_bytes(content)
                file.chmod(0o555 if mode == PROGRAM else 0o444)
                if content.startswith(LFS_POINTER):
                    pointers.append(path)
            written[path] = (mode, hashlib.sha256(content).hexdigest())
    if pointers:
        raise RelevoError(
            f"{_named(pointers)} only point to Git LFS, but an artefact needs the content; "
            f"commit it itself, or keep it out of the project's folder."
        )
    inside = target.resolve()
    leading_out = [path for path in links if not (target / path).resolve().is_relative_to(inside)]
    if leading_out:
        raise RelevoError(
            f"{_named(leading_out)} link to outside of {source.folder}, but an artefact is complete in "
            f"itself; replace the links by what they mean."
        )
    return written


def _accept(path: str, mode: str) -> None:
    if mode == SUBMODULE:
        raise RelevoError(
            f"{path} is a git submodule, but its content is not in this repository; "
            f"commit the content, or make it a dependency."
        )
    if ".." in PurePosixPath(path).parts or PurePosixPath(path).is_absolute():
        raise RelevoError(
            f"{path!r} leads out of the project, but only paths inside are accepted; rename it."
        )
    try:
        path.encode()
    except UnicodeEncodeError:
        raise RelevoError(f"{path!r} is not UTF-8, but a path must be; rename it.") from None


def _named(paths: list[str]) -> str:
    shown = ", ".join(paths[:3])
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more"
