"""Whether an artefact can run on the schema as it is: a wrong yes loses requests, a wrong no loses time."""

from __future__ import annotations

import itertools

import pytest

from components.release.manifest import Manifest, Migration
from components.release.record import Release
from components.release.rollback import decide
from tests.unit.release.stand_in import manifest, migration

FIRST = migration("loans.0001_initial")
ADDS = migration("loans.0002_location")
ADDS_FOR_GOOD = migration("loans.0002_note", reversible=False)
OPAQUE = migration("loans.0003_fill", "opaque")
BREAKING = migration("loans.0003_rename", "breaking")
DROP = migration("loans.0004_drop", "breaking", reversible=False)
OPAQUE_FOR_GOOD = migration("loans.0004_fill", "opaque", reversible=False)
OTHER_APP = migration("audit.0001_initial")
OTHER_BREAKING = migration("audit.0002_rename", "breaking")
THIRD_PARTY = migration("sessions.0001_initial")
SQUASHED = migration("loans.0001_squashed_0002", "opaque", replaces="loans.0001_initial loans.0002_location")


@pytest.mark.parametrize(
    ("target", "running", "applied", "left"),
    [
        pytest.param([FIRST], [FIRST], [FIRST], [], id="no surplus"),
        pytest.param([FIRST, ADDS], [FIRST], [FIRST], [], id="a version forward"),
        pytest.param([FIRST], None, [], [], id="first release"),
        pytest.param([FIRST], [FIRST, ADDS], [FIRST, ADDS], [ADDS], id="surplus that adds"),
        pytest.param(
            [FIRST], [FIRST, ADDS_FOR_GOOD], [FIRST, ADDS_FOR_GOOD], [ADDS_FOR_GOOD],
            id="surplus that adds and cannot be reversed",
        ),
        pytest.param([FIRST], [FIRST, ADDS, DROP], [FIRST, ADDS], [ADDS], id="the worse one is not applied"),
        pytest.param([FIRST], [FIRST], [FIRST, THIRD_PARTY], [], id="an app that no release knows"),
        pytest.param([FIRST], [FIRST, OTHER_APP], [FIRST, OTHER_APP], [OTHER_APP], id="an app that is new"),
        pytest.param([SQUASHED], [FIRST, ADDS], [FIRST, ADDS], [], id="the target has squashed it"),
        pytest.param(
            [FIRST, ADDS], [SQUASHED], [FIRST, ADDS, SQUASHED], [],
            id="squashed since: the target knows all that it replaces",
        ),
        pytest.param(
            [FIRST], [SQUASHED], [FIRST], [], id="squashed since, but only the known part is applied"
        ),
    ],
)  # fmt: skip
def test_goes_back_directly(target, running, applied, left) -> None:
    earlier = [] if running is None else [manifest("v2", *running)]
    found = decide(manifest("v1", *target), {one.key for one in applied}, earlier, [])
    assert found.refusal is None
    assert found.left_applied == tuple(str(one) for one in left)


REVERSE = "reverse them with the newer artefact (manage.py migrate loans 0001_initial)"


@pytest.mark.parametrize(
    ("running", "applied", "named", "lasting", "remedy"),
    [
        pytest.param([FIRST, OPAQUE], [FIRST, OPAQUE], [OPAQUE], [], REVERSE, id="opaque, reversible"),
        pytest.param([FIRST, BREAKING], [FIRST, BREAKING], [BREAKING], [], REVERSE, id="breaking"),
        pytest.param(
            [FIRST, OPAQUE_FOR_GOOD], [FIRST, OPAQUE_FOR_GOOD], [OPAQUE_FOR_GOOD], [OPAQUE_FOR_GOOD],
            "pin a version that knows them", id="opaque, irreversible",
        ),
        pytest.param(
            [FIRST, DROP], [FIRST, DROP], [DROP], [DROP], "pin a version that knows them", id="irreversible"
        ),
        pytest.param(
            [FIRST, ADDS, BREAKING, DROP], [FIRST, ADDS, BREAKING, DROP], [ADDS, BREAKING, DROP], [DROP],
            "pin a version that knows them", id="mixed: only the lasting one is called lasting",
        ),
        pytest.param(
            [FIRST, ADDS, BREAKING], [FIRST, ADDS, BREAKING], [ADDS, BREAKING], [], REVERSE,
            id="mixed: what adds does not excuse what breaks",
        ),
        pytest.param(
            None, [FIRST, ADDS], [ADDS], [ADDS], "pin a version that knows them",
            id="no manifest says what it does: it counts as lasting",
        ),
        pytest.param(
            [FIRST], [FIRST, ADDS], [ADDS], [ADDS], "pin a version that knows them",
            id="the manifests that are kept do not have it",
        ),
        pytest.param(
            [FIRST, OTHER_APP, OTHER_BREAKING], [FIRST, OTHER_APP, OTHER_BREAKING],
            [OTHER_APP, OTHER_BREAKING], [],
            "reverse them with the newer artefact (manage.py migrate audit zero)",
            id="an app that the target does not have",
        ),
        pytest.param(
            [SQUASHED], [FIRST, ADDS, SQUASHED], [SQUASHED, ADDS], [], REVERSE,
            id="squashed since, with more than the target knows",
        ),
    ],
)  # fmt: skip
def test_refuses(running, applied, named, lasting, remedy) -> None:
    earlier = [] if running is None else [manifest("v2", *running)]
    found = decide(manifest("v1", FIRST), {one.key for one in applied}, earlier, [])
    assert found.refusal is not None
    assert found.left_applied == ()
    reason, _, way = found.refusal.partition("; ")
    assert (
        f"v1 does not know ({', '.join(str(one) for one in sorted(named, key=lambda one: one.key))})"
        in reason
    )
    if lasting:
        assert f"of which {', '.join(map(str, lasting))} cannot be reversed" in reason
    else:
        assert "cannot be reversed" not in reason
    assert way.startswith(remedy)
    assert "restore the backup taken before they were applied" in way
    assert "\n" not in found.refusal


# -- apps that are gone ------------------------------------------------------------------------------------
AUDIT = [OTHER_APP, OTHER_BREAKING]
AUDIT_MORE = migration("audit.0003_fill", "opaque")


def built(version: str, hour: int, *migrations: Migration) -> Manifest:
    return manifest(version, *migrations, built_at=f"2026-11-24T{hour:02}:00:00+00:00")


V2 = built("v2", 2, FIRST, *AUDIT)


@pytest.mark.parametrize(
    ("target", "earlier", "applied", "left", "behind"),
    [
        pytest.param(built("v3", 3, FIRST), [V2], [FIRST, *AUDIT], [], AUDIT, id="the app is removed"),
        pytest.param(
            built("v3", 3, FIRST, ADDS), [V2], [FIRST, *AUDIT], [], AUDIT, id="removed, and the rest goes on"
        ),
        pytest.param(
            built("v4", 4, FIRST), [built("v3", 3, FIRST), V2], [FIRST, *AUDIT], [], AUDIT,
            id="removed a version ago",
        ),
        pytest.param(
            built("v3", 3, FIRST), [built("v4", 4, FIRST, ADDS), V2], [FIRST, ADDS, *AUDIT], [ADDS], AUDIT,
            id="back to the version that removed it",
        ),
        pytest.param(
            built("v3", 3, FIRST), [built("v4", 4, FIRST, *AUDIT), V2], [FIRST, *AUDIT], [], AUDIT,
            id="back to the version that removed it, from one that has it again",
        ),
        pytest.param(
            built("v1", 1, FIRST), [built("v2", 2, FIRST, OTHER_APP)], [FIRST, OTHER_APP], [OTHER_APP], [],
            id="back to before an app that only adds: it is left applied",
        ),
        pytest.param(
            manifest("v3", FIRST, built_at="2026-11-24T04:00:00+02:00"),
            [built("v2", 1, FIRST, *AUDIT)], [FIRST, *AUDIT], [], AUDIT, id="times are compared as times",
        ),
    ],
)  # fmt: skip
def test_lives_beside_what_an_app_left_behind(target, earlier, applied, left, behind) -> None:
    """Django leaves the tables of a removed app alone, and so must a release."""
    found = decide(target, {one.key for one in applied}, earlier, [])
    assert found.refusal is None
    assert found.left_applied == tuple(map(str, left))
    assert found.left_behind == tuple(map(str, behind))


@pytest.mark.parametrize(
    ("target", "earlier", "applied", "known", "named"),
    [
        pytest.param(built("v1", 1, FIRST), [V2], [FIRST, *AUDIT], "", AUDIT, id="back to before the app"),
        pytest.param(built("v1", 2, FIRST), [V2], [FIRST, *AUDIT], "", AUDIT, id="built at the same time"),
        pytest.param(
            built("v3", 3, FIRST, OTHER_APP), [V2], [FIRST, *AUDIT], "", [OTHER_BREAKING],
            id="the app is there, but its migration is not",
        ),
        pytest.param(
            built("v3", 3, FIRST), [built("v4", 4, FIRST, *AUDIT, AUDIT_MORE), V2],
            [FIRST, *AUDIT, AUDIT_MORE], "", [*AUDIT, AUDIT_MORE],
            id="since it was removed it has come back, with more",
        ),
        pytest.param(
            built("v3", 3, FIRST), [built("v2", 2, FIRST, BREAKING, *AUDIT)],
            [FIRST, BREAKING, *AUDIT], "", [BREAKING], id="a removed app does not excuse another's migration",
        ),
        pytest.param(
            built("v1", 3, FIRST), [V2], [FIRST, *AUDIT], "v1: v2:audit.0002_rename v1:", AUDIT,
            id="its clock is ahead, but it was released before the app was",
        ),
    ],
)  # fmt: skip
def test_an_older_version_is_not_one_that_removed_the_app(target, earlier, applied, known, named) -> None:
    found = decide(target, {one.key for one in applied}, earlier, history(known))
    assert found.refusal is not None
    assert found.left_behind == ()
    names = ", ".join(str(one) for one in sorted(named, key=lambda one: one.key))
    assert f"{target.version} does not know ({names})" in found.refusal


def test_the_record_of_a_first_release_of_the_version_that_removes_an_app_is_no_obstacle() -> None:
    known = history("v1: v2:audit.0002_rename v3:")
    applied = {one.key for one in (FIRST, *AUDIT)}
    assert decide(built("v3", 3, FIRST), applied, [V2], known).refusal is None


def history(story: str) -> list[Release]:
    """Releases from words such as `v2:audit.0002_rename`, the version and what it applied."""
    return [
        release(f"{number}-{version}", version, [pending] if pending else [])
        for number, (version, _, pending) in enumerate(word.partition(":") for word in story.split())
    ]


def release(name: str, version: str, pending: list[str]) -> Release:
    return Release(
        id=name,
        version=version,
        image="i",
        trigger="t",
        lock="l",
        responsible="Ada",
        opened_at="t",
        previous_image=None,
        previous_version=None,
        done={"preflight": {"pending": pending}, "backup": {"name": name}},
    )


def test_the_newest_manifest_that_ran_says_what_a_migration_does() -> None:
    """A migration may have been corrected between two builds; what was applied last is what counts."""
    newest = manifest("v3", FIRST, migration("loans.0002_location", "breaking"))
    older = manifest("v2", FIRST, ADDS)
    applied = {FIRST.key, ADDS.key}
    assert decide(manifest("v1", FIRST), applied, [newest, older], []).refusal is not None
    assert decide(manifest("v1", FIRST), applied, [older, newest], []).refusal is None


def test_the_backup_of_the_record_that_has_none_of_the_surplus_is_named() -> None:
    known = [
        release(name, "v2", pending)
        for name, pending in (("B1", ["loans.0001_initial"]), ("B2", ["loans.0003_rename"]), ("B3", []))
    ]
    running = manifest("v2", FIRST, BREAKING)
    found = decide(manifest("v1", FIRST), {FIRST.key, BREAKING.key}, [running], known)
    assert found.refusal is not None
    assert found.refusal.endswith("or restore the backup B2")


def test_every_small_history_keeps_the_rules() -> None:
    """All combinations: three migrations of each kind, known or not, applied or not."""
    kinds = [("additive", False), ("opaque", False), ("breaking", True)]
    names = ("a.1", "a.2", "b.1")
    decided = 0
    for chosen in itertools.product(kinds, repeat=3):
        all_three = [
            migration(name, effect, reversible=reversible)
            for name, (effect, reversible) in zip(names, chosen, strict=True)
        ]
        for target_has, running_has, is_applied in itertools.product(range(8), repeat=3):
            target = [one for bit, one in enumerate(all_three) if target_has >> bit & 1]
            running = [one for bit, one in enumerate(all_three) if running_has >> bit & 1]
            applied = [one for bit, one in enumerate(all_three) if is_applied >> bit & 1]
            keeps_the_rules(target, running, applied)
            decided += 1
    assert decided == 3**3 * 8**3


def keeps_the_rules(target: list[Migration], running: list[Migration], applied: list[Migration]) -> None:
    found = decide(manifest("v1", *target), {one.key for one in applied}, [manifest("v2", *running)], [])
    apps = {one.app for one in (*target, *running)}
    surplus = [one for one in applied if one not in target and one.app in apps]
    harmful = [one for one in surplus if one not in running or one.effect != "additive"]
    assert (found.refusal is None) == (not harmful), "direct exactly if all of the surplus is known to add"
    if found.refusal is None:
        assert set(found.left_applied) == {str(one) for one in surplus}
        return
    lasting = [one for one in surplus if one not in running or not one.reversible]
    reason, _, remedy = found.refusal.partition("; ")
    assert all(str(one) in reason for one in surplus)
    assert all(str(one) in reason.partition("of which ")[2] for one in lasting)
    assert remedy.startswith("pin a version" if lasting else "reverse them")
    assert "restore the backup" in remedy
