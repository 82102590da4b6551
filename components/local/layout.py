"""Every path of a state folder, in one place."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from components.target import TargetError

# What supervisord, HAProxy and PATH can all read without quoting rules of their own.
READABLE = re.compile(r"[\w./@+= -]+")
SOCKET_PATH = 97  # HAProxy's limit, the smallest of ours
LONGEST_SOCKET = "/supervisor.sock"
SYSTEM_FOLDER = Path("/var/lib/relevo")


@dataclass(frozen=True)
class Layout:
    """The folders and files below a stack's state folder (absolute). Raises `TargetError` if unusable."""

    root: Path

    def __post_init__(self) -> None:
        if not self.root.is_absolute():
            raise TargetError(
                f"relevo:stateDir is {self.root}, but only an absolute path is accepted; give one."
            )
        if not READABLE.fullmatch(str(self.root)):
            raise TargetError(
                f"relevo:stateDir is {self.root}, but only letters, digits, spaces and ./@+=_- are accepted "
                f"in its path; choose another folder."
            )

    @property
    def digest(self) -> str:
        """Names the folders that must lie outside `root`."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:12]

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def programs(self) -> Path:
        """Of each program `<name>.conf`, which supervisord reads, and `<name>.json`, which launch reads."""
        return self.root / "programs"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def database(self) -> Path:
        return self.root / "database"

    @property
    def outside(self) -> Path:
        """Where PostgreSQL's data and binaries lie if its user cannot reach them below `root`."""
        return SYSTEM_FOLDER / self.digest

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def edge(self) -> Path:
        return self.root / "edge"

    @property
    def app(self) -> Path:
        """A copy of each released source: `app/<first 12 digits of its digest>`."""
        return self.root / "app"

    @property
    def static(self) -> Path:
        return self.root / "static"

    @property
    def media(self) -> Path:
        return self.root / "media"

    def media_beside(self, id: str) -> Path:
        """The media of a database beside, `Beside.id`."""
        return self.root / f"media.{id}"

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    @property
    def logbook(self) -> Path:
        return self.root / "logbook"

    @property
    def record(self) -> Path:
        return self.logbook / "releases.jsonl"

    @property
    def pages(self) -> Path:
        """The logbook for people, HTML."""
        return self.logbook / "pages"

    @property
    def handed_over(self) -> Path:
        """What the attendant knows of the last release: the variables of its steps."""
        return self.root / "handed-over.json"

    @property
    def page_server(self) -> Path:
        """What serves `pages`."""
        return self.root / "pages"

    @property
    def ports(self) -> Path:
        return self.root / "ports.json"

    @property
    def sockets(self) -> Path:
        """A 0700 folder for Unix sockets, under the temporary directory where `run` is too deep for them."""
        if len(os.fsencode(self.run)) + len(LONGEST_SOCKET) <= SOCKET_PATH:
            return self.run
        return Path(tempfile.gettempdir()) / f"relevo-{os.geteuid()}-{self.digest}"

    def marker(self, program: str) -> str:
        """The value of RELEVO_PROGRAM by which a running process is known as ours."""
        return f"{self.root}/{program}"

    def launch(self, program: str) -> Path:
        """What an instance or process was last started with, a `Launch`."""
        return self.programs / f"{program}.json"

    def log(self, program: str) -> Path:
        return self.logs / f"{program}.log"

    def folders(self) -> tuple[Path, ...]:
        return (
            self.secrets,
            self.programs,
            self.logs,
            self.run,
            self.cache,
            self.edge,
            self.app,
            self.static,
            self.media,
            self.backups,
            self.logbook,
            self.page_server,
        )

    def make(self) -> None:
        """Create what is missing. The database's own folder is made with the database."""
        self.root.mkdir(parents=True, exist_ok=True)
        for folder in self.folders():
            folder.mkdir(mode=0o700, exist_ok=True)
        if self.sockets != self.run:
            self.sockets.mkdir(mode=0o700, exist_ok=True)
            found = self.sockets.lstat()
            # In a folder that everyone may write to, somebody else could have been there first.
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise TargetError(
                    f"{self.sockets} is not a private folder of this user, but the servers' sockets lie "
                    f"there; "
                    f"remove it."
                )

    def made(self) -> bool:
        folders = (*self.folders(), self.sockets)
        return all(folder.is_dir() for folder in folders)
