"""The application's database and its roles there: `python -m components.azure.role`, a job's command.

Made by the jobs' identity, since who makes a database with ARM cannot say whose it is: it belongs to the
server's built-in administrator, and nobody else may give it away.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import psycopg
from psycopg import sql

from components.azure.database_login import connect
from components.azure.logins import LOGINS, password_variable, role_name
from components.azure.restores import DRILL
from components.restoring import beginning
from components.target import TargetError

# Cluster-wide and of other databases: whatever the role owns besides its database and what is in that, and
# those that a restore has put or left beside it.
OWNED_ELSEWHERE = """
SELECT coalesce('what is in database ' || elsewhere.datname,
                pg_describe_object(owned.classid, owned.objid, 0))
  FROM pg_shdepend AS owned
  JOIN pg_roles AS role ON owned.refclassid = 'pg_authid'::regclass AND owned.refobjid = role.oid
  LEFT JOIN pg_database AS elsewhere ON elsewhere.oid = owned.dbid
  LEFT JOIN pg_database AS itself ON owned.classid = 'pg_database'::regclass AND itself.oid = owned.objid
 WHERE owned.deptype = 'o' AND role.rolname = %(role)s
   AND coalesce(elsewhere.datname, itself.datname, '') <> %(database)s
   AND NOT starts_with(coalesce(elsewhere.datname, itself.datname, ''), %(drill)s)
   AND NOT starts_with(
           coalesce(shobj_description(coalesce(elsewhere.oid, itself.oid), 'pg_database'), ''), %(beside)s)
 LIMIT 1
"""


def make(database: str, owner: str, passwords: Mapping[str, str]) -> None:
    """Have all of it, whatever there is.

    The role `owner` has the database and may do no more, and nobody logs in as it. Whoever logs in by one of
    `passwords` (role → password) acts as the owner, so that all belongs to that, whichever came.

    Raises `TargetError` if the server has a role of such a name that is somebody else's, or a database.
    """
    with connect(None) as server:
        try:
            exists = {role: _is_ours(server, database, role) for role in (owner, *passwords)}
            _have_role(server, owner, exists[owner], sql.SQL("NOLOGIN"))
            # Only a member of it may give it a database, or read all that it has for a backup.
            server.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(owner)))
            for login, password in passwords.items():
                # The server logs such a statement, so it gets what proves the password, and not the password.
                proof = server.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256")
                rights = sql.SQL("LOGIN PASSWORD {}").format(sql.Literal(proof.decode()))
                _have_role(server, login, exists[login], rights)
                names = {"owner": sql.Identifier(owner), "login": sql.Identifier(login)}
                server.execute(sql.SQL("GRANT {owner} TO {login}").format(**names))
                # Only a member of it may end its sessions, as a restore does.
                server.execute(sql.SQL("GRANT {login} TO CURRENT_USER").format(**names))
                server.execute(sql.SQL("ALTER ROLE {login} SET role TO {owner}").format(**names))
            _own(server, database, owner)
        except psycopg.Error as error:
            said = error.diag.message_primary or "the connection is lost"
            raise TargetError(
                f"the server refuses to give {database} to {owner} ({said}), but the jobs' identity "
                f"administers it; see who made them, and remove or rename them."
            ) from None
    with connect(database) as connection:
        # Its owner's since PostgreSQL 15, and everybody's before that, unless somebody has changed it.
        if not _one(connection, "SELECT has_schema_privilege(%s, 'public', 'CREATE')", owner):
            connection.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(owner)))


def _have_role(server: psycopg.Connection, name: str, exists: bool, rights: sql.Composable) -> None:
    verb = sql.SQL("ALTER" if exists else "CREATE")
    server.execute(
        sql.SQL("{} ROLE {} NOCREATEDB NOCREATEROLE {}").format(verb, sql.Identifier(name), rights)
    )


def _is_ours(server: psycopg.Connection, database: str, role: str) -> bool:
    """False: there is none yet."""
    found = server.execute(
        "SELECT rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls OR rolname = current_user "
        "FROM pg_roles WHERE rolname = %s",
        [role],
    ).fetchone()
    if found is None:
        return False
    ours = {"drill": DRILL, "beside": beginning(database)}
    elsewhere = server.execute(OWNED_ELSEWHERE, {"role": role, "database": database, **ours}).fetchone()
    if not found[0] and elsewhere is None:
        return True
    what = f"owns {elsewhere[0]}" if elsewhere else "administers the server"
    raise TargetError(
        f"relevo:database.user needs the role {role}, but the server has one of this name that {what}; "
        f"take another name."
    )


def _own(server: psycopg.Connection, database: str, role: str) -> None:
    owner = _one(server, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", database)
    names = {"database": sql.Identifier(database), "role": sql.Identifier(role)}
    if owner is None:
        server.execute(sql.SQL("CREATE DATABASE {database} OWNER {role} ENCODING 'UTF8'").format(**names))
    elif owner != role:
        server.execute(sql.SQL("ALTER DATABASE {database} OWNER TO {role}").format(**names))


def _one(connection: psycopg.Connection, query: str, value: str) -> object:
    """The first column of the first row; None where there is none."""
    row = connection.execute(query.encode(), [value]).fetchone()
    return row[0] if row else None


def main() -> int:
    try:
        owner = os.environ["RELEVO_ROLE"]
        passwords = {role_name(owner, login): os.environ[password_variable(login)] for login in LOGINS}
        make(os.environ["PGDATABASE"], owner, passwords)
    except TargetError as fault:
        print(fault, flush=True)
        return 1
    print(f"{os.environ['PGDATABASE']} belongs to {owner}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
