"""What is wrong with the query of a volume, before it is asked: PostgreSQL's own parser says what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pglast
from pglast import ast

PARAMETERS = {"%(since)s": 65534, "%(until)s": 65535}  # as numbers that nobody writes
PERCENT = re.compile(r"%\(since\)s|%\(until\)s|%%|%")
CHANGES = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt, ast.IntoClause, ast.LockingClause)
EXAMPLE = "SELECT count(*) FROM loans_loan WHERE assigned_at >= %(since)s AND assigned_at < %(until)s"


def fault(sql: str) -> str | None:
    """Such as "has no %(until)s"; None for one SELECT that reads, with both parameters."""
    if any(found == "%" for found in PERCENT.findall(sql)):
        return "has a % that begins no parameter, and is written %% where it is itself meant"
    try:
        statements = [raw.stmt for raw in pglast.parse_sql(PERCENT.sub(_placeholder, sql))]
    except pglast.Error as error:
        return f"is not SQL ({' '.join(str(error).split())})"
    if len(statements) != 1 or not isinstance(statements[0], ast.SelectStmt):
        return f"is {len(statements)} statements" if len(statements) != 1 else "is no SELECT"
    nodes = list(_nodes(statements[0]))
    if any(isinstance(node, CHANGES) for node in nodes):
        return "does more than read"
    found = {node.number for node in nodes if isinstance(node, ast.ParamRef)}
    unknown = found - set(PARAMETERS.values())
    if unknown:
        return f"has a parameter ${unknown.pop()}"
    absent = [name for name, number in PARAMETERS.items() if number not in found]
    return f"has no {' and no '.join(absent)}" if absent else None


def _nodes(tree: Any) -> Iterator[ast.Node]:
    if isinstance(tree, tuple):
        for member in tree:
            yield from _nodes(member)
    elif isinstance(tree, ast.Node):
        yield tree
        for name in tree:
            yield from _nodes(getattr(tree, name))


def _placeholder(found: re.Match[str]) -> str:
    number = PARAMETERS.get(found[0])
    return "%" if number is None else f"${number}"
