"""Which lock a statement takes on which table of PostgreSQL, as its manual says. Pure.

"Explicit Locking" has the modes and most commands; the pages of ALTER TABLE, ALTER INDEX, CREATE TABLE, DROP
INDEX, CREATE TRIGGER, REINDEX and COMMENT the rest. What works on a whole schema or database names no table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pglast
from pglast import ast
from pglast.enums import AlterTableType, ConstrType, ObjectType

ACCESS_SHARE, ROW_SHARE, ROW_EXCLUSIVE = "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE"
SHARE_UPDATE_EXCLUSIVE, SHARE = "SHARE UPDATE EXCLUSIVE", "SHARE"
SHARE_ROW_EXCLUSIVE, EXCLUSIVE, ACCESS_EXCLUSIVE = "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"
# From the weakest, as `LOCK TABLE` numbers them from 1.
MODES = (
    *(ACCESS_SHARE, ROW_SHARE, ROW_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE),
    *(SHARE, SHARE_ROW_EXCLUSIVE, EXCLUSIVE, ACCESS_EXCLUSIVE),
)
# Of what a request does: "Conflicting Lock Modes".
BLOCKS = {
    ACCESS_EXCLUSIVE: "reads and writes",
    **dict.fromkeys((EXCLUSIVE, SHARE_ROW_EXCLUSIVE, SHARE), "writes"),
}
# "An ACCESS EXCLUSIVE lock is acquired unless explicitly noted" (ALTER TABLE): these are noted.
ALTER_TABLE = {
    AlterTableType.AT_SetStatistics: SHARE_UPDATE_EXCLUSIVE,
    AlterTableType.AT_SetOptions: SHARE_UPDATE_EXCLUSIVE,
    AlterTableType.AT_ResetOptions: SHARE_UPDATE_EXCLUSIVE,
    AlterTableType.AT_ValidateConstraint: SHARE_UPDATE_EXCLUSIVE,
    AlterTableType.AT_ClusterOn: SHARE_UPDATE_EXCLUSIVE,
    AlterTableType.AT_DropCluster: SHARE_UPDATE_EXCLUSIVE,
    AlterTableType.AT_AttachPartition: SHARE_UPDATE_EXCLUSIVE,
    **{
        getattr(AlterTableType, f"AT_{act}Trig{which}"): SHARE_ROW_EXCLUSIVE
        for act in ("Enable", "Disable")
        for which in ("", "All", "User")
    },
}
DROPPED = tuple(getattr(ObjectType, f"OBJECT_{kind}") for kind in ("TABLE", "INDEX", "VIEW", "MATVIEW"))


@dataclass(frozen=True, kw_only=True)
class Lock:
    """`relation`: a table's name, or an index's whose table it is on; with its schema where that is given."""

    relation: str
    mode: str

    @property
    def blocks(self) -> str | None:
        """What of the requests that are served meanwhile; None: nothing."""
        return BLOCKS.get(self.mode)


def taken(text: str) -> list[Lock]:
    """The strictest on each relation, of one statement or several. Raises `ValueError` for what is no SQL."""
    try:
        statements = [raw.stmt for raw in pglast.parse_sql(text)]
    except pglast.Error as error:
        raise ValueError(f"PostgreSQL does not parse it: {error}") from None
    found: dict[str, str] = {}
    for relation, mode in (lock for statement in statements for lock in _of(statement)):
        found[relation] = max(mode, found.get(relation, ACCESS_SHARE), key=MODES.index)
    return [Lock(relation=relation, mode=mode) for relation, mode in found.items()]


def _of(node: Any) -> Iterator[tuple[str, str]]:
    match type(node).__name__:
        case "AlterTableStmt":
            for command in node.cmds:
                yield _name(node.relation), _altering(command)
                yield from _referenced(command.def_)
                if isinstance(command.def_, ast.PartitionCmd):
                    yield _name(command.def_.name), ACCESS_EXCLUSIVE
        case "CreateStmt":
            for element in node.tableElts or ():
                yield from _referenced(element)
            if node.partbound is not None:  # "on the parent partitioned table": attaching one takes less
                yield _name(node.inhRelations[0]), ACCESS_EXCLUSIVE
        case "RenameStmt" if node.relation is not None:
            index = node.renameType == ObjectType.OBJECT_INDEX
            yield _name(node.relation), SHARE_UPDATE_EXCLUSIVE if index else ACCESS_EXCLUSIVE
        case "AlterObjectSchemaStmt" if node.relation is not None:
            yield _name(node.relation), ACCESS_EXCLUSIVE
        case "IndexStmt":
            yield _name(node.relation), SHARE_UPDATE_EXCLUSIVE if node.concurrent else SHARE
        case "DropStmt" if node.removeType in DROPPED:
            for names in node.objects:
                yield _joined(names), SHARE_UPDATE_EXCLUSIVE if node.concurrent else ACCESS_EXCLUSIVE
        case "TruncateStmt":
            for relation in node.relations:
                yield _name(relation), ACCESS_EXCLUSIVE
        case "CreateTrigStmt":
            yield _name(node.relation), SHARE_ROW_EXCLUSIVE
        case "CommentStmt" if node.objtype == ObjectType.OBJECT_TABLE:
            yield _joined(node.object), SHARE_UPDATE_EXCLUSIVE
        case "CommentStmt" if node.objtype == ObjectType.OBJECT_COLUMN:
            yield _joined(node.object[:-1]), SHARE_UPDATE_EXCLUSIVE
        case "ReindexStmt" if node.relation is not None:
            # Of its indexes: the table's own is weaker, but to plan a query PostgreSQL looks at each of them.
            concurrent = _option(node.params, "concurrently")
            yield _name(node.relation), SHARE_UPDATE_EXCLUSIVE if concurrent else ACCESS_EXCLUSIVE
        case "ClusterStmt" if node.relation is not None:
            yield _name(node.relation), ACCESS_EXCLUSIVE
        case "VacuumStmt":
            full = _option(node.options, "full")
            for table in node.rels or ():
                yield _name(table.relation), ACCESS_EXCLUSIVE if full else SHARE_UPDATE_EXCLUSIVE
        case "RefreshMatViewStmt":
            yield _name(node.relation), EXCLUSIVE if node.concurrent else ACCESS_EXCLUSIVE
        case "LockStmt":
            for relation in node.relations:
                yield _name(relation), MODES[node.mode - 1]
        case "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt":
            yield _name(node.relation), ROW_EXCLUSIVE


def _option(options: Any, name: str) -> bool:
    """Of those in parentheses, such as (FULL) or (FULL off)."""
    found = next((option for option in options or () if option.defname == name), None)
    if found is None or found.arg is None:
        return found is not None
    return str(getattr(found.arg, "sval", getattr(found.arg, "ival", None))).lower() in ("true", "on", "1")


def _altering(command: Any) -> str:
    constraint = command.def_
    if isinstance(constraint, ast.Constraint) and constraint.contype == ConstrType.CONSTR_FOREIGN:
        return SHARE_ROW_EXCLUSIVE
    return ALTER_TABLE.get(command.subtype, ACCESS_EXCLUSIVE)


def _referenced(element: Any) -> Iterator[tuple[str, str]]:
    """Tables that a new column or constraint refers to."""
    constraints = (element.constraints or ()) if isinstance(element, ast.ColumnDef) else (element,)
    for constraint in constraints:
        if isinstance(constraint, ast.Constraint) and constraint.pktable is not None:
            yield _name(constraint.pktable), SHARE_ROW_EXCLUSIVE


def _name(relation: Any) -> str:
    return f"{relation.schemaname}.{relation.relname}" if relation.schemaname else relation.relname


def _joined(names: Any) -> str:
    return ".".join(name.sval for name in names)
