"""How long a restore takes beside a database of ten thousand and of a million rows, part by part.

    python bench/restore.py [ROWS …]

On a PostgreSQL of its own, without an engine; bench/rollback.py has the whole way back. The ratio between the
sizes of one run is what compares between machines. `compared` is once after a few rows were written, and once
after a migration has changed every row; the site is without a database only in `switched`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from components.dumping import Dumping
from components.local.postgres import bundled
from components.restoring import Restoring
from tests.e2e.servers import postgresql

SIZES = (10_000, 1_000_000)
TABLE = """
CREATE TABLE loan (id bigint PRIMARY KEY, code text UNIQUE, holder int, lent timestamptz DEFAULT now());
CREATE INDEX ON loan (holder); CREATE INDEX ON loan (lent);
INSERT INTO loan SELECT i, md5(i::text), i % 1000 FROM generate_series(1, {rows}) AS i
"""
FEW = "INSERT INTO loan SELECT -i, 'new ' || i, 1 FROM generate_series(1, 100) AS i"
ALL = "UPDATE loan SET code = upper(code)"


def measure(url: str, rows: int) -> dict[str, float]:
    """Seconds of each part."""
    server = conninfo_to_dict(url)
    database = str(server["dbname"])
    took: dict[str, float] = {}

    def timed(part: str, act: Callable[[], Any]) -> Any:
        began = time.monotonic()
        found = act()
        took[part] = time.monotonic() - began
        return found

    def connect(name: str | None) -> psycopg.Connection:
        return psycopg.connect(url, dbname=name or "postgres", autocommit=True)

    def tool(program: str, *arguments: str, connect: bool = True) -> None:
        names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password"}
        variables = {variable: str(server[name]) for variable, name in names.items()}
        subprocess.run([bundled() / program, *arguments], env=variables, check=True)

    dumping = Dumping(database=database, connect=connect, tool=tool, scratch=f"{database}_scratch_")
    restoring = Restoring(database=database, connect=connect, tool=tool)
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as folder, connect(database) as session:
        file = Path(folder) / "database.dump"
        session.execute(TABLE.format(rows=rows).encode())
        counts = timed("dumped", lambda: dumping.dump(session, file))
        timed("verified", lambda: dumping.verify(file, counts))
        session.execute(FEW)
        detail = {"tables": len(counts), "rows": sum(counts.values())}
        brought = timed(
            "restored beside", lambda: restoring.bring(file, backup="r", image=None, detail=detail)
        )
        timed("compared, few changed", lambda: restoring.compare(brought.id))
        session.execute(ALL)
        timed("compared, all changed", lambda: restoring.compare(brought.id))
        timed("switched", lambda: restoring.switch(brought.id, image=None))
    return took


def main(sizes: list[int]) -> None:
    with postgresql() as new_database:
        found = {rows: measure(new_database(), rows) for rows in sizes}
    print("part".ljust(24), *(f"{rows:>12,} rows" for rows in sizes), "ratio".rjust(8))
    for part in found[sizes[0]]:
        seconds = [found[rows][part] for rows in sizes]
        print(part.ljust(24), *(f"{each:15.2f} s" for each in seconds), f"{seconds[-1] / seconds[0]:8.1f}")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or list(SIZES))
