"""What a stack has released: its record, beside the artefacts that are still in the store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components.release import record, return_time
from components.release.record import Release
from relevo import logbook, pin
from relevo.project import Project
from relevo.store import Stored


@dataclass(frozen=True, kw_only=True)
class Row:
    """One release, or an artefact that was never released: `release` and `at` are None then."""

    version: str
    image: str
    verdict: str  # open, failed, succeeded, or built
    release: str | None
    at: str | None  # when it was opened, or the artefact built; ISO 8601, UTC
    error: str | None
    in_store: bool | None  # None: its artefacts are in a registry, not here
    pinned: bool
    kind: str | None  # release, re-release, rollback or recovery
    back_seconds: float | None  # of one that went back: from the decision to the last verified instance
    serving: bool  # what a stack serves after its last good release; `relevo status` asks the processes


def read(file: Path) -> list[Release]:
    """Every release of a record, oldest first; none where there is no record."""
    return record.releases(record.parse(file.read_bytes() if file.is_file() else b""))


def of(project: Project, stack: str) -> list[Release]:
    return record.releases(record.parse(logbook.read(project, stack)))


def reachable(file: Path) -> frozenset[str]:
    """Images that a rollback may ask for."""
    return record.reachable_images(read(file))


def overview(project: Project, stack: str) -> list[Row]:
    """The newest first."""
    here = project.settings(stack).target == "local"
    stored = project.store.all() if here else None
    return rows(of(project, stack), stored, pin.pinned(project.configuration(stack)))


def rows(known: list[Release], stored: Iterable[Stored] | None, pinned: str | None) -> list[Row]:
    """`stored`: None where artefacts are in a registry."""
    here, stored = stored is not None, list(stored or ())
    there = {artefact.image for artefact in stored}
    newest = {
        release.image: release.id for release in known
    }  # of the releases of one image the last is marked
    good = record.last_good(known)
    released = [
        Row(
            version=release.version,
            image=release.image,
            verdict=release.verdict,
            release=release.id,
            at=release.opened_at,
            error=release.error,
            in_store=release.image in there if here else None,
            pinned=release.image == pinned and release.id == newest[release.image],
            kind=release.kind,
            back_seconds=back.seconds if (back := return_time.of(release)) else None,
            serving=good is not None and release.id == good.id,
        )
        for release in known
    ]
    unreleased = [
        Row(
            version=artefact.manifest.version,
            image=artefact.image,
            verdict="built",
            release=None,
            at=artefact.manifest.built_at,
            error=None,
            in_store=True,
            pinned=artefact.image == pinned,
            kind=None,
            back_seconds=None,
            serving=False,
        )
        for artefact in stored
        if artefact.image not in {release.image for release in known}
    ]
    return sorted([*released, *unreleased], key=lambda row: row.at or "", reverse=True)


def table(found: list[Row]) -> list[str]:
    """Aligned lines for people."""
    lines = []
    width = max((len(row.version) for row in found), default=0)
    for row in found:
        marks = [
            mark
            for mark, applies in (
                ("serving", row.serving),
                ("pinned", row.pinned),
                ("not in the store", row.in_store is False),
            )
            if applies
        ]
        if row.back_seconds is not None:
            marks.append(f"{row.kind} in {return_time.spoken(row.back_seconds)}")
        said = f"{row.verdict:9}  {', '.join(marks)}" + (f"  {row.error}" if row.error else "")
        digits = row.image.rpartition(":")[2][:12]
        lines.append(f"{row.version:{width}}  {digits}  {(row.at or '')[:19]}  {said}".rstrip())
    return lines
