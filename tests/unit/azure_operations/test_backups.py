"""A release's backup: one of the server and one of its content, each once, each within Azure's limits."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from components.azure.operations import AzureOperations
from components.target import TargetError
from tests.azure.arm_stand_in import ArmStandIn, Command

NAME = "20261124T140210Z-v2"


def _dump(azure: ArmStandIn, facts: dict[str, Any], name: str, *, at: str, verified: bool = True) -> None:
    azure.blob(facts["storage"]["backups"], f"{name}/database.dump").upload_blob(
        b"PGDMP",
        metadata={
            "taken_at": at,
            "verified": str(verified).lower(),
            "detail": json.dumps({"tables": 2, "rows": 5, "media_files": 1}),
        },
    )


@pytest.fixture
def dumping(azure: ArmStandIn, facts: dict[str, Any]) -> ArmStandIn:
    """Its job stores what it is asked for."""

    def run(words: list[str]) -> Command:
        assert words == ["dump", NAME]
        _dump(azure, facts, NAME, at="2026-11-24T14:03:00+00:00")
        return Command(["2 tables, 5 rows: dumped, restored beside and counted"])

    azure.commands = run
    return azure


def test_a_backup_is_taken_once_of_the_server_and_of_its_content(
    operations: AzureOperations, dumping: ArmStandIn, facts: dict[str, Any]
) -> None:
    taken = operations.backup(NAME, kept=[])
    assert (taken.name, taken.verified, taken.bytes) == (NAME, True, 5)
    assert taken.detail["rows"] == 5
    assert taken.location.endswith(f"/{facts['storage']['backups']}/{NAME}/database.dump")
    assert list(dumping.backups) == [NAME]
    environment = dumping.jobs["caj-backup"][0].environment
    assert environment["PGUSER"] == facts["database"]["administrator"]
    assert environment["RELEVO_BACKUPS"] == facts["storage"]["backups"]

    assert AzureOperations(facts).backup(NAME, kept=[]) == taken
    assert len(dumping.jobs["caj-backup"]) == 1
    assert len(dumping.asked(f"^PUT .*backups/{NAME}")) == 1


def test_a_backup_that_was_killed_between_its_two_parts_goes_on(
    operations: AzureOperations, dumping: ArmStandIn
) -> None:
    dumping.backups[NAME] = datetime(2026, 11, 24, tzinfo=UTC)
    assert operations.backup(NAME, kept=[]).verified
    assert not dumping.asked("^PUT .*/backups/")


def test_a_dump_that_fails_is_the_error(operations: AzureOperations, azure: ArmStandIn) -> None:
    azure.commands = lambda words: Command(["pg_dump fails (out of memory)"], status=1)
    with pytest.raises(TargetError, match=r"exit status 1: pg_dump fails \(out of memory\)"):
        operations.backup(NAME, kept=[])


def test_the_oldest_that_nothing_needs_goes_before_the_eighth(
    operations: AzureOperations, dumping: ArmStandIn
) -> None:
    dumping.backups.update({f"r{day}": datetime(2026, 11, day, tzinfo=UTC) for day in range(1, 8)})
    operations.backup(NAME, kept=["r1", "r2"])
    assert sorted(dumping.backups) == [NAME, "r1", "r2", "r4", "r5", "r6", "r7"]


def test_one_that_is_kept_goes_only_when_its_content_is_safe_in_a_dump(
    facts: dict[str, Any], dumping: ArmStandIn
) -> None:
    dumping.backups.update({f"r{day}": datetime(2026, 11, day, tzinfo=UTC) for day in range(1, 8)})
    kept = list(dumping.backups)
    _dump(dumping, facts, "r1", at="2026-11-01T00:00:00+00:00", verified=False)
    with pytest.raises(TargetError, match="has 7 on-demand backups, each needed for a way back"):
        AzureOperations(facts).backup(NAME, kept=kept)
    assert sorted(dumping.backups) == sorted(kept)

    _dump(dumping, facts, "r3", at="2026-11-03T00:00:00+00:00")
    AzureOperations(facts).backup(NAME, kept=kept)
    assert sorted(dumping.backups) == sorted({*kept, NAME} - {"r3"})


def test_a_server_without_on_demand_backups_has_its_dump(facts: dict[str, Any], dumping: ArmStandIn) -> None:
    facts["backup"]["on_demand"] = False
    assert AzureOperations(facts).backup(NAME, kept=[]).verified
    assert dumping.backups == {}


def test_the_last_backup_is_the_newest_by_its_own_word(
    operations: AzureOperations, azure: ArmStandIn, facts: dict[str, Any]
) -> None:
    assert operations.last_backup() is None
    for name, at in (
        ("a", "2026-11-20T00:00:00+00:00"),
        ("b", "2026-11-22T00:00:00+00:00"),
        ("c", "2026-11-21T00:00:00+00:00"),
    ):
        _dump(azure, facts, name, at=at)
    azure.blob(facts["storage"]["backups"], "d/media-1.json").upload_blob(b"[]")
    last = operations.last_backup()
    assert last is not None
    assert (last.name, last.taken_at) == ("b", "2026-11-22T00:00:00+00:00")
