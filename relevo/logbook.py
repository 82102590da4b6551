"""The record of a stack of either target: what it says, and whether its past is as it was written."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.local.layout import Layout
from components.release import account, chain, reading, record, review
from components.release.pages import rendering
from components.release.record import Entry
from relevo import engine
from relevo.errors import RelevoError
from relevo.project import Project

EVERY_STEP = ("step started", "step done", "notified")  # what a release is made of, and not what happened


def read(project: Project, stack: str) -> bytes:
    """As it is. A local stack's is there without the engine, also before it was ever brought up."""
    if project.settings(stack).target == "local":
        file = Layout(project.state(stack)).record
        return file.read_bytes() if file.is_file() else b""
    from relevo import operating

    return operating.context(project, stack).operations.read_record()


def kept_head(project: Project, stack: str) -> str:
    """The head as the last good release has left it in the engine's state. Raises `RelevoError`."""
    return engine.output(project, "stack", "output", "logbook", "--stack", stack).strip()


def verified(written: bytes, *, head: str | None) -> list[str]:
    """What the record is, in a line, and what a later line covers. Raises `RelevoError` for what was changed.

    `head`: the hash of a line that is known from elsewhere.
    """
    found = chain.examine(written, head=head)
    if found.faults:
        raise RelevoError("\n".join(["the logbook is not as it was written:", *map(str, found.faults)]))
    if not found.count:
        return ["the logbook has no entry yet"]
    if not chain.begun(written):
        return [f"{found.count} entries without a hash; the next entry covers them, and begins the chain"]
    span = f"{found.began} to {found.ended}"
    return [f"ok: {found.count} entries, head {found.head}, {span}", *found.sealed]


def told(written: bytes, stack: str) -> dict[str, Any]:
    """What the pages show, and every entry; for machines (docs/logbook.md)."""
    return {**asdict(account.of(written, stack=stack)), "entries": entries(written)}


def draw(written: bytes, stack: str, folder: Path) -> Path:
    """Write the pages into the folder; returns the first one. Raises `RelevoError` for what is no folder."""
    for path, page in rendering.pages(account.of(written, stack=stack)).items():
        file = folder / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(page)
        except OSError as error:
            raise RelevoError(
                f"{file} cannot be written ({error.strerror}), but the pages go there; give another folder."
            ) from None
    return folder / rendering.FIRST


def entries(written: bytes) -> list[dict[str, Any]]:
    """Every entry as it stands there, with the hashes; for machines."""
    return [
        {**line, **vars(entry)}
        for line in map(_json, written.split(b"\n"))
        if line is not None and (entry := _entry(line)) is not None
    ]


def table(written: bytes, *, steps: bool) -> list[str]:
    """Aligned lines for people, the oldest first; with every step of each release, and what it found."""
    known = {release.id: release for release in record.releases(record.parse(written))}
    rows = []
    for entry in record.parse(written):
        if entry.event in EVERY_STEP and not steps:
            continue
        release = known.get(entry.release or "")
        what = (
            entry.event.replace("release", release.kind, 1)
            if release and entry.event != "step done"
            else entry.event
        )
        version = release.version if release else ""
        rows.append(((entry.time[:19], what, version, _said(entry)), _found(entry) if steps else []))
    widths = [max((len(row[column]) for row, _ in rows), default=0) for column in range(3)]
    lines = []
    for row, found in rows:
        aligned = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        lines += ["  ".join([*aligned, row[3]]).rstrip(), *(f"    {one}" for one in found)]
    return lines


def _said(entry: Entry) -> str:
    """What belongs to the event, in a few words."""
    data = entry.data
    parts = [
        entry.step,
        None if entry.seconds is None else f"{entry.seconds:.1f} s",
        data.get("backup") if isinstance(data.get("backup"), str) else None,
        f"by {data['responsible']}" if data.get("responsible") else None,
        f"preview {data['approved'][:12]} approved" if data.get("approved") else None,
        f"{data['measure']} {data.get('found')}, before {data.get('before')}" if "measure" in data else None,
        data.get("verdict") if entry.event in ("watch done", "review done") else None,
        data.get("why") if entry.event == "watch done" else None,
        entry.error,
    ]
    return ", ".join(part for part in parts if part)


def _found(entry: Entry) -> list[str]:
    """What a step or a review found, a line each, as the pages show it."""
    data, step = entry.data, entry.step or ""
    lines = []
    if entry.event == "release opened":
        approved = "approved" if data.get("approved") else "nobody was asked"
        lines.append(f"preview digest {data.get('trigger')}, {approved}")
    if entry.event in ("step done", "step failed"):
        if step == "backup" and (taken := account.backup(data)) is not None:
            verified = "verified" if taken.verified else "not verified"
            lines.append(f"{taken.name}, taken at {taken.taken_at}, {verified}, {taken.bytes} bytes")
        for word in ("pending", "applied", "reversed"):
            lines += [f"{word} {name}" for name in data.get(word) or ()]
        for asked in account.asked({step: data}):
            for request in asked.requests:
                answer = "no answer" if request.status is None else request.status
                found = request.fault or "as expected"
                lines.append(f"{asked.of}: {request.name}  {answer}  {request.milliseconds} ms  {found}")
    if entry.event == "review done":
        lines += [review.line(name, volume) for name, volume in (data.get("volumes") or {}).items()]
    return lines


def _json(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _entry(line: dict[str, Any]) -> Entry | None:
    try:
        return Entry(**reading.known(Entry, line))
    except TypeError:
        return None
