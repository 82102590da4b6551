"""What pending migrations do to a database in use: the lock of each statement, and what squawk says of it.

Never a reason to refuse: what a lock costs depends on the minute, which whoever releases knows.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sysconfig
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from components.release import django_sql, locks
from components.release.context import Context
from components.release.record import Release

SECONDS = 60.0
SHOWN = 160  # letters of a statement
# Of no use for what Django writes: a matter of taste, or of a session's settings, which are not in the SQL.
NOT_ASKED = (
    *("prefer-bigint-over-int", "prefer-bigint-over-smallint", "prefer-identity", "prefer-text-field"),
    *("prefer-robust-stmts", "prefer-timestamptz", "require-lock-timeout", "require-statement-timeout"),
)


class NotLinted(Exception):
    """Why there are no findings, on one line."""


@dataclass(frozen=True, kw_only=True)
class Locked:
    """`rows` as PostgreSQL estimates them, None: it never has; `bytes` with indexes."""

    table: str
    mode: str
    blocks: str | None
    rows: int | None
    bytes: int

    def __str__(self) -> str:
        rows = "rows never counted" if self.rows is None else f"about {self.rows:,} rows"
        blocking = f", which blocks {self.blocks}" if self.blocks else ""
        return f"{self.mode} on {self.table} ({rows}, {_size(self.bytes)}){blocking}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Of one statement; of the whole migration where that is empty."""

    migration: str
    statement: str
    locks: tuple[Locked, ...]
    advice: tuple[str, ...]

    def __str__(self) -> str:
        return ": ".join(
            part
            for part in (self.migration, self.statement, "; ".join(map(str, self.locks)), *self.advice)
            if part
        )

    def data(self) -> dict[str, Any]:
        return asdict(self)


def findings(context: Context, release: Release) -> list[Finding]:
    """Of all that the release is going to migrate. Raises `NotLinted`, and `TargetError`."""
    question = f"{inspect.getsource(django_sql)}\n\nshow()"
    done = context.operations.manage(release.image, ["shell", "-c", question], release=release.id, show=False)
    answer = done.answer("pending")
    if answer is None:
        raise NotLinted(f"the SQL of the migrations cannot be read ({done.last_line})")
    return [
        finding for one in answer["pending"] for finding in _of(one, answer["relations"], answer["server"])
    ]


def _of(one: Mapping[str, Any], relations: Mapping[str, Any], server: int) -> list[Finding]:
    migration, sql = one["migration"], one["sql"]
    notes = []
    if fault := one.get("fault"):
        notes.append(f"its SQL can only be told once the migrations before it are applied ({fault})")
    if one["code"]:
        notes.append(f"{one['code']} of its operations run Python, of which nothing can be said before")
    found = [Finding(migration=migration, statement="", locks=(), advice=(note,)) for note in notes]
    said = advice(sql, in_transaction=one["atomic"], server=server) if sql else {}
    for number, statement in enumerate(sql):
        try:
            taken = locks.taken(statement)
        except ValueError:
            taken = []
        known = [_locked(lock, relations) for lock in taken if lock.relation in relations]
        if taken and not known:
            continue  # of a table that this release makes: nobody waits for it
        told = tuple(said.get(number, ()))
        if told or any(lock.blocks for lock in known):
            text = " ".join(statement.split())
            shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
            found.append(Finding(migration=migration, statement=shown, locks=tuple(known), advice=told))
    return found


def _locked(lock: locks.Lock, relations: Mapping[str, Any]) -> Locked:
    """An index's lock is one on its table as well."""
    table = relations[lock.relation][2] or lock.relation
    rows, size, _ = relations.get(table, relations[lock.relation])
    return Locked(
        table=table, mode=lock.mode, blocks=lock.blocks, rows=None if rows < 0 else rows, bytes=size
    )


def advice(sql: Sequence[str], *, in_transaction: bool, server: int) -> dict[int, list[str]]:
    """Number of the statement → what squawk says of it. `server`: as PostgreSQL numbers it, e.g. 170002."""
    words = [
        str(Path(sysconfig.get_path("scripts"), "squawk")),
        "--reporter=json",
        f"--pg-version={server // 10000}.{server % 10000}",
        f"--exclude={','.join(NOT_ASKED)}",
        *(["--assume-in-transaction"] if in_transaction else []),
    ]
    try:
        done = subprocess.run(
            words, input="\n".join(sql), capture_output=True, text=True, timeout=SECONDS, check=False
        )
        said = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise NotLinted(f"squawk does not answer ({type(error).__name__})") from None
    starts = list(accumulate((statement.count("\n") + 1 for statement in sql), initial=0))
    found: dict[int, list[str]] = defaultdict(list)
    for each in said:
        found[bisect_right(starts, each["line"]) - 1].append(f"{each['message']} [{each['rule_name']}]")
    return found


def _size(size: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 10240:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} GB"
