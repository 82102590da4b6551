"""The decision against Django itself: over random projects, what it plans is what Django then does.

Projects have several apps that depend on each other, also by `run_before`, branches and merges, squashed
migrations whose originals stay, go, or are forgotten, versions of different lines, and a last release that
may have died half-way.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace

from django.db.migrations.exceptions import AmbiguityError, CircularDependencyError, NodeNotFoundError
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st

from components.release import django_plan
from components.release.history import known_to
from components.release.manifest import Manifest
from components.release.plan import Key
from components.release.rollback import Decision, decide
from components.target import Artefact
from tests.unit.release.django_stand_in import WORSE, Database, Disk, File, described, squashed
from tests.unit.release.stand_in import image


@dataclass(frozen=True, eq=False)
class Project:
    """Versions, oldest first, each as it lies on disk; `rows` are what releasing them has left."""

    disks: tuple[Disk, ...]
    rows: frozenset[Key]
    kept: frozenset[int]
    manifests: tuple[Manifest, ...]
    target: int = 0

    @property
    def squashes(self) -> bool:
        return any(file.replaces for disk in self.disks for file in disk.values())

    def decided(self, rows: Set[Key]) -> Decision:
        manifests = self.manifests
        earlier = [
            Artefact(image=image(manifests[number].version), manifest=manifests[number])
            for number in reversed(range(len(manifests)))
            if number in self.kept and number != self.target
        ]
        return decide(manifests[self.target], rows, earlier, [])

    def disk_of(self, version: str) -> Disk:
        return self.disks[int(version.removeprefix("v"))]

    @functools.cached_property
    def needed(self) -> frozenset[Key]:
        """What the target must find as it is."""
        return frozenset(known_to(self.manifests[self.target]) & self.rows)


@st.composite
def files(draw: st.DrawFn) -> list[File]:
    """In an order in which they can be applied."""
    found: list[File] = []
    for number in range(draw(st.integers(2, 8))):
        app = draw(st.sampled_from("abc"))
        own = [file.key for file in found if file.key[0] == app]
        others = [file.key for file in found if file.key[0] != app]
        parents = [*own[-1:]]
        if len(own) > 1 and draw(st.integers(0, 3)) == 0:
            parents = draw(st.lists(st.sampled_from(own), min_size=1, max_size=2, unique=True))
        if others and draw(st.booleans()):
            parents += draw(st.lists(st.sampled_from(others), max_size=2, unique=True))
        effect = draw(st.sampled_from(WORSE))
        reversible = draw(st.integers(0, 4)) > 0
        key = (app, f"{number:04}")
        if others and draw(st.integers(0, 3)) == 0:
            early = draw(st.sampled_from(others))
            found = [
                replace(file, run_before=(*file.run_before, key)) if file.key == early else file
                for file in found
            ]
        found.append(File(key, tuple(parents), effect, reversible))
    return found


def closed(found: list[File], chosen: set[Key]) -> dict[Key, File]:
    """The chosen ones with all that has to run before them."""
    needed = set(chosen)
    for file in reversed(found):
        if not needed.isdisjoint((file.key, *file.run_before)):
            needed.update((file.key, *file.dependencies))
    return {
        file.key: replace(file, run_before=tuple(key for key in file.run_before if key in needed))
        for file in found
        if file.key in needed
    }


@st.composite
def projects(draw: st.DrawFn) -> Project:
    found = draw(files())
    count = draw(st.integers(2, 4))
    sizes = sorted(draw(st.lists(st.integers(1, len(found)), min_size=count, max_size=count)))
    disks: list[dict[Key, File]] = []
    for size in sizes:
        part = found[:size]
        left_out = draw(st.sets(st.sampled_from([file.key for file in part]), max_size=1))
        disks.append(closed(part, {file.key for file in part} - left_out))
    if draw(st.booleans()):
        disks = with_squash(draw, disks)
    database = Database()
    manifests: list[Manifest] = []
    for number, disk in enumerate(disks):
        last = number == len(disks) - 1
        at_most = draw(st.integers(0, 8)) if last and draw(st.booleans()) else None
        try:
            manifests.append(described(f"v{number}", disk, f"2026-11-24T{number:02}:00:00+00:00"))
            database.migrate(disk, at_most=at_most)
        except (NodeNotFoundError, CircularDependencyError):  # Django itself refuses this one
            assume(False)
    kept = frozenset(range(len(disks)))
    if draw(st.integers(0, 4)) == 0:
        kept -= {draw(st.integers(0, len(disks) - 1))}
    return Project(tuple(disks), frozenset(database.rows), kept, tuple(manifests))


def with_squash(draw: st.DrawFn, disks: list[dict[Key, File]]) -> list[dict[Key, File]]:
    """From some version on, a chain of an app is squashed; then its files are gone, then also `replaces`."""
    begin = draw(st.integers(0, len(disks) - 1))
    assume(disks[begin])
    app = draw(st.sampled_from(sorted({key[0] for key in disks[begin]})))
    chain = [file for key, file in disks[begin].items() if key[0] == app]
    for before, file in itertools.pairwise(chain):
        assume([key for key in file.dependencies if key[0] == app] == [before.key])
    length = draw(st.integers(1, len(chain)))
    start = draw(st.integers(0, len(chain) - length))
    squash = squashed(f"{chain[start].key[1]}_squashed", chain[start : start + length])
    stages = sorted(draw(st.lists(st.integers(0, 2), min_size=len(disks), max_size=len(disks))))
    changed = []
    for number, disk in enumerate(disks):
        if number < begin:
            changed.append(disk)
            continue
        stage = stages[number - begin]
        files = {**disk, squash.key: squash}
        if stage > 0:
            files = {key: file for key, file in files.items() if key not in squash.replaces}
        if stage > 1:
            files = {key: forgetting(file, squash) for key, file in files.items()}
        changed.append(files)
    return changed


def forgetting(file: File, squash: File) -> File:
    if file.key == squash.key:
        return replace(file, replaces=())

    def renamed(keys: Iterable[Key]) -> tuple[Key, ...]:
        return tuple(dict.fromkeys(squash.key if key in squash.replaces else key for key in keys))

    return replace(file, dependencies=renamed(file.dependencies), run_before=renamed(file.run_before))


def can_run(decision: Decision) -> bool:
    return decision.refusal is None and decision.rewind is None


@given(projects())
@settings(
    max_examples=int(os.environ.get("RELEVO_EXAMPLES", "500")),
    deadline=None,
    derandomize="RELEVO_EXAMPLES" not in os.environ,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_what_is_decided_is_what_django_does(project: Project) -> None:
    for target in range(len(project.disks)):
        back = replace(project, target=target)
        found = back.decided(project.rows)
        event("refused" if found.refusal else "rewind" if found.rewind else "direct")
        if found.rewind:
            rewinds_exactly(back, project.rows, found)
            ends_right_though_killed_anywhere(back, found)
        if found.refusal and not back.squashes:
            no_rewind_was_overlooked(back)


def rewinds_exactly(project: Project, rows: Set[Key], found: Decision) -> frozenset[Key]:
    """Returns the rows afterwards."""
    assert found.rewind is not None
    disk = project.disk_of(found.rewind.version)
    whole = Database(rows)
    planned = django_plan.plan(whole.executor(disk), list(found.rewind.commands))
    # The order among those that do not depend on each other is Django's own.
    assert sorted(name for name, _ in planned) == sorted(found.rewind.reverses), "asked before any change"
    assert all(reversible for _, reversible in planned)

    done = [name for command in found.rewind.commands for name in whole.migrate_back(disk, *command)]
    assert sorted(done) == sorted(found.rewind.reverses), "one command after the other does the same"
    assert whole.rows >= project.needed, "nothing of the target's is reversed"
    after = project.decided(whole.rows)
    assert can_run(after)
    # An app may count as removed once what came after its removal is reversed.
    assert {*after.left_applied, *after.left_behind} == {*found.left_applied, *found.left_behind}
    return frozenset(whole.rows)


def ends_right_though_killed_anywhere(project: Project, found: Decision) -> None:
    assert found.rewind is not None
    disk = project.disk_of(found.rewind.version)
    whole = rewinds_exactly(project, project.rows, found)
    for left in range(len(found.rewind.reverses) + 1):
        killed = Database(project.rows)
        for command in found.rewind.commands:
            left -= len(killed.migrate_back(disk, *command, at_most=left))
        again = project.decided(killed.rows)
        assert again.refusal is None
        ended = rewinds_exactly(project, killed.rows, again) if again.rewind else frozenset(killed.rows)
        # Rows of squashed migrations come and go with what they stand for.
        assert project.squashes or ended >= whole, "no more than one that was not interrupted"


def no_rewind_was_overlooked(project: Project) -> None:
    """All that can be said to `migrate` in any one kept artefact is tried."""
    for number in project.kept - {project.target}:
        for rows in reached(project, project.disks[number], project.rows):
            after = project.decided(rows)
            # Where its target has no such app any more, what is left of one may lie where it is.
            assert after.left_behind or not can_run(after), f"v{number} could reverse {project.rows - rows}"


def reached(project: Project, disk: Disk, begin: frozenset[Key]) -> Iterator[frozenset[Key]]:
    """Rows that commands of the artefact can lead to, reversing only what may be."""
    needed = project.needed
    apps_it_knows = {app for app, _ in disk if not any(row[0] == app and row not in disk for row in begin)}
    seen, todo = {begin}, [begin]
    while todo:
        rows = todo.pop()
        for app, name in [*disk, *((app, "zero") for app in {key[0] for key in disk})]:
            database = Database(rows)
            try:
                plan = database.plan(disk, app, name)
            except (ValueError, AmbiguityError):
                continue
            reverses = {(one.app_label, one.name) for one in plan}
            if (
                reverses & needed
                or not all(disk[key].reversible for key in reverses)
                or not {key[0] for key in reverses} <= apps_it_knows
            ):
                continue
            for migration in plan:
                database.unapply(migration)
            after = frozenset(database.rows)
            if after not in seen:
                seen.add(after)
                todo.append(after)
                yield after
