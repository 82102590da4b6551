"""A dump brought back into a database beside the application's own, and the switch between the two.

Which databases lie beside, of which backup and for which artefact, stands in their comments: so it is known
from the server alone, whoever asks, and changes in the very transaction in which the names do.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from components import comparing
from components.dumping import drop, make, rows
from components.target import Beside, Comparison, TargetError

LONGEST_NAME = 63  # bytes, NAMEDATALEN of PostgreSQL
JOBS = 2  # tables and indexes that pg_restore makes at a time
ENDING_SECONDS = 0.05
RIGHTS = """
SELECT rolsuper OR (rolcreatedb AND pg_has_role(datdba, 'USAGE')), pg_get_userbyid(datdba), current_user::text
  FROM pg_roles, pg_database WHERE rolname = current_user AND datname = %s
"""
# Of sessions of others it shows the role, but not what kind of session it is.
STRANGERS = """
SELECT DISTINCT usename FROM pg_stat_activity JOIN pg_roles AS other ON other.oid = usesysid
  CROSS JOIN (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS me
 WHERE datname = %s AND coalesce(backend_type, 'client backend') = 'client backend' AND NOT me.rolsuper
   AND (other.rolsuper OR NOT (pg_has_role(usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE')))
"""
END_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = %s AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
PRIVILEGES = """
SELECT privilege_type, CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END, is_grantable
  FROM pg_database, aclexplode(datacl) WHERE datname = %s
"""
SETTINGS = """
SELECT CASE WHEN setrole <> 0 THEN pg_get_userbyid(setrole) END, split_part(setting, '=', 1),
       substr(setting, strpos(setting, '=') + 1)
  FROM pg_db_role_setting JOIN pg_database AS database ON database.oid = setdatabase,
       unnest(setconfig) AS setting
 WHERE datname = %s
"""


@dataclass(frozen=True, kw_only=True)
class Note:
    """A database's comment. `of` is the application's; the database of that name may have a note as well.

    `instead_of`: the id of what was put aside for this one. `whole`: false while it is being restored.
    """

    of: str
    id: str
    kept: bool = False
    image: str | None = None
    backup: str | None = None
    instead_of: str | None = None
    whole: bool = True
    media: str | None = None  # the target's word on media that belong to it and are not in place

    @classmethod
    def read(cls, comment: str | None) -> Note | None:
        try:
            found = json.loads(comment or "")["relevo"]
            return cls(**found)
        except (ValueError, KeyError, TypeError):
            return None

    def to_text(self) -> str:
        return json.dumps({"relevo": asdict(self)})


@dataclass(frozen=True, kw_only=True)
class Restoring:
    """`connect` and `tool` as of `components.dumping.Dumping`."""

    database: str
    connect: Callable[[str | None], psycopg.Connection]
    tool: Callable[..., None]

    def require_rights(self) -> None:
        """Raises `TargetError` where a restore would fail in the middle."""
        with self._server() as server:
            found = server.execute(RIGHTS, [self.database]).fetchone()
        if found is None:
            raise TargetError(
                f"the server has no database {self.database}, but a backup is restored beside it; run pulumi "
                f"up."
            )
        able, owner, role = found
        if not able:
            raise TargetError(
                f"{role} may not make a database of {owner}'s beside {self.database}, but a restore does; "
                f"ALTER ROLE {role} CREATEDB, and GRANT {owner} TO {role}."
            )

    def bring(
        self,
        file: Path,
        *,
        backup: str,
        image: str | None,
        detail: Mapping[str, Any],
        media: str | None = None,
    ) -> Beside:
        """The dump in a database beside, counted against `detail` of its backup.

        One that an earlier call has brought is taken as it is; what a killed one left is removed.
        """
        self.require_rights()
        with self._server() as server:
            for name, note in self._notes(server).items():
                if note.kept or name == self.database:
                    continue
                if note.whole and (note.backup, note.image) == (backup, image):
                    return _beside(name, note)
                drop(server, name)
            id = self._new_id(server)
            name = self._name("restored", id)
            note = Note(of=self.database, id=id, image=image, backup=backup, whole=False, media=media)
            make(server, name, like=self.database, owned=True)
            try:
                self._remark(server, name, note)
                self.fill(name, file, detail)
                self._allow(server, name)
                self._remark(server, name, replace(note, whole=True))
            except BaseException:
                drop(server, name)
                raise
        return _beside(name, note)

    def fill(self, name: str, file: Path, detail: Mapping[str, Any]) -> dict[str, int]:
        """An empty database with the dump's content, with owners and grants. Returns "tables" and "rows"."""
        self.tool("pg_restore", "--exit-on-error", f"--jobs={JOBS}", f"--dbname={name}", str(file))
        with self.connect(name) as restored:
            counts = rows(restored)
            restored.execute("ANALYZE")  # or the first queries would be planned as if it were empty
        found = {"tables": len(counts), "rows": sum(counts.values())}
        wanted = {key: detail[key] for key in found}
        if found != wanted:
            raise TargetError(
                f"the restored backup has {found['rows']} rows in {found['tables']} tables, but "
                f"{wanted['rows']} in {wanted['tables']} were dumped; restore another one."
            )
        return found

    def find(self, id: str) -> Note:
        """Raises `TargetError` if nothing beside has this id."""
        with self._server() as server:
            return self._find(server, id)[1]

    def compare(self, id: str) -> Comparison:
        with self._server() as server:
            name, _ = self._find(server, id)
            with self.connect(self.database) as live, self.connect(name) as other:
                return comparing.compare(live, other)

    def switch(self, id: str, *, image: str | None, media: str | None = None) -> Beside:
        """The database beside in place of the application's, which is put aside; `image` runs on that.

        In one transaction: there is a database of the application's name at any moment, and whoever
        connects meanwhile waits. Returns what was put aside; done before, it does nothing.
        """
        with self._server() as server:
            notes = self._notes(server)
            live = notes.get(self.database)
            if live is not None and live.id == id and live.instead_of:
                return _beside(*self._find(server, live.instead_of))
            name, note = self._find(server, id)
            self._require_no_strangers(server)
            aside = Note(
                of=self.database,
                id=self._new_id(server),
                kept=True,
                image=image,
                backup=live.backup if live else None,
                media=media,
            )
            kept = self._name("before", aside.id)
            with server.transaction(), self._ending_sessions():
                self._rename(server, self.database, kept)
                self._rename(server, name, self.database)
                self._remark(server, kept, aside)
                self._remark(server, self.database, replace(note, kept=False, instead_of=aside.id))
            return _beside(kept, aside)

    def live(self) -> Note | None:
        """What is known of the application's own database; None: nothing was ever switched."""
        with self._server() as server:
            return self._notes(server).get(self.database)

    def settled(self) -> None:
        """The media of the application's database are in place."""
        with self._server() as server:
            note = self._notes(server).get(self.database)
            if note is not None:
                self._remark(server, self.database, replace(note, media=None))

    def all(self) -> list[Beside]:
        """Those beside that are whole, newest first."""
        with self._server() as server:
            notes = self._notes(server)
        found = [_beside(name, note) for name, note in notes.items() if name != self.database and note.whole]
        return sorted(found, key=lambda beside: beside.id, reverse=True)

    def remove(self, id: str) -> None:
        with self._server() as server:
            drop(server, self._find(server, id)[0])

    # -- inside ----------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def _server(self) -> Iterator[psycopg.Connection]:
        try:
            with self.connect(None) as server:
                yield server
        except psycopg.Error as error:
            said = error.diag.message_primary or " ".join(str(error).split())
            detail = f": {error.diag.message_detail}" if error.diag.message_detail else ""
            raise TargetError(
                f"the server refuses to restore beside {self.database} ({said}{detail}), but nothing was "
                f"switched; correct that, and run it again."
            ) from None

    def _notes(self, server: psycopg.Connection) -> dict[str, Note]:
        found = server.execute("SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database")
        notes = {name: Note.read(comment) for name, comment in found}
        return {name: note for name, note in notes.items() if note and note.of == self.database}

    def _find(self, server: psycopg.Connection, id: str) -> tuple[str, Note]:
        for name, note in self._notes(server).items():
            if note.id == id and name != self.database:
                return name, note
        raise TargetError(f"no database beside {self.database} has the id {id}; see relevo restore --list.")

    def _new_id(self, server: psycopg.Connection) -> str:
        """By the second, in which two may be made: media folders are known by it as well."""
        taken = {note.id for note in self._notes(server).values()}
        at = datetime.now(UTC)
        while (id := f"{at:%Y%m%dt%H%M%Sz}") in taken:
            at += timedelta(seconds=1)
        return id

    def _name(self, role: str, id: str) -> str:
        end = f"_{role}_{id}"
        return self.database[: LONGEST_NAME - len(end)] + end

    def _rename(self, server: psycopg.Connection, before: str, after: str) -> None:
        server.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(before), sql.Identifier(after))
        )

    def _remark(self, server: psycopg.Connection, name: str, note: Note) -> None:
        server.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(note.to_text()))
        )

    def _require_no_strangers(self, server: psycopg.Connection) -> None:
        found = [name for (name,) in server.execute(STRANGERS, [self.database])]
        if found:
            raise TargetError(
                f"{', '.join(found)} is connected to {self.database}, but only sessions of roles that this "
                f"one is a member of can be ended; have them disconnect, and run it again."
            )

    @contextlib.contextmanager
    def _ending_sessions(self) -> Iterator[None]:
        """The server waits five seconds in a rename for other sessions to be gone, and lets no new one in."""
        renamed = threading.Event()

        def end() -> None:
            with contextlib.suppress(psycopg.Error), self.connect(None) as server:
                while not renamed.is_set():
                    server.execute(END_SESSIONS, [self.database])
                    renamed.wait(ENDING_SECONDS)

        ending = threading.Thread(target=end, daemon=True)
        ending.start()
        try:
            yield
        finally:
            renamed.set()
            ending.join()

    def _allow(self, server: psycopg.Connection, name: str) -> None:
        """The grants on the database itself and its settings, which no dump has."""
        target = sql.Identifier(name)
        granted = server.execute(PRIVILEGES, [self.database]).fetchall()
        if granted:
            server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(target))
        for privilege, role, grantable in granted:
            server.execute(
                sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                    sql.SQL(privilege),
                    target,
                    sql.Identifier(role) if role else sql.SQL("PUBLIC"),
                    sql.SQL(" WITH GRANT OPTION" if grantable else ""),
                )
            )
        for role, setting, value in server.execute(SETTINGS, [self.database]).fetchall():
            whose = (
                sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(role), target)
                if role
                else sql.SQL("ALTER DATABASE {}").format(target)
            )
            with server.transaction():  # a list such as search_path is quoted as the server does it
                server.execute("SELECT set_config(%s, %s, true)", [setting, value])
                server.execute(sql.SQL("{} SET {} FROM CURRENT").format(whose, sql.Identifier(setting)))


def beginning(database: str) -> str:
    """Of the comment of every database that lies beside this one."""
    return json.dumps({"relevo": {"of": database}}).removesuffix("}}")


def _beside(name: str, note: Note) -> Beside:
    return Beside(id=note.id, database=name, image=note.image, backup=note.backup, kept=note.kept)
