"""Whether an artefact can run on the schema as it is: a wrong yes loses requests, a wrong no loses time."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pytest

from components.release.manifest import Manifest, Migration
from components.release.record import Release
from components.release.rollback import Decision, decide
from components.target import Artefact
from tests.unit.release.stand_in import image, keys, manifest, migration

WORD = re.compile(
    r"(?P<key>[^~!$=<]+)(?P<effect>[~!]?)(?P<lasting>\$?)(=(?P<replaces>[^<]*))?(<(?P<after>.*))?"
)
EFFECTS = {"": "additive", "~": "opaque", "!": "breaking"}
NOWHERE = "nowhere.0"  # what the artefact does not have: so it is the first of its app


def of(version: str, words: str, built_at: str = "2026-11-24T12:00:00+00:00") -> Manifest:
    """A manifest from words such as `a.2!$<a.1,b.3`: breaking (~ opaque), irreversible, after these two.

    `=a.1,a.2` replaces these. Without `<` a migration is after the one before it of its app.
    """
    found = []
    for word in words.split():
        match = WORD.fullmatch(word)
        assert match, word
        after = match["after"] if match["after"] is not None else ""
        found.append(
            migration(
                match["key"],
                EFFECTS[match["effect"]],
                reversible=not match["lasting"],
                replaces=(match["replaces"] or "").replace(",", " "),
                after=after.replace(",", " "),
            )
        )
    return manifest(version, *found, built_at=built_at)


def artefacts(*manifests: Manifest) -> list[Artefact]:
    return [Artefact(image=image(one.version), manifest=one) for one in manifests]


@dataclass(frozen=True)
class Case:
    """`applied` lists rows of django_migrations; "all" stands for whatever `earlier`, newest first, has."""

    name: str
    target: str
    earlier: tuple[str, ...]
    applied: str = "all"
    left: str = ""
    behind: str = ""
    by: str = ""  # the version that runs `commands`
    commands: str = ""
    reverses: str = ""
    refused: str = ""

    @property
    def decided(self) -> Decision:
        """Versions count from the target's, v1; what is older than it is v0.…"""
        count = len(self.earlier)
        manifests = [of(f"v{count - number + 1}", words) for number, words in enumerate(self.earlier)]
        rows = set(keys(self.applied))
        if self.applied == "all":
            rows = {
                row for one in manifests for each in one.migrations for row in each.replaces or (each.key,)
            }
        return decide(of("v1", self.target), rows, artefacts(*manifests), [])


DIRECT = [
    Case("first release", "a.1", (), ""),
    Case("the same schema", "a.1 b.1", ("a.1 b.1",)),
    Case("a version forward", "a.1 a.2!", ("a.1",)),
    Case("nothing is applied", "a.1", ("a.1 a.2!$",), ""),
    Case("surplus that adds", "a.1", ("a.1 a.2",), left="a.2"),
    Case("surplus that adds and cannot be reversed", "a.1", ("a.1 a.2$",), left="a.2"),
    Case("surplus that adds, of several apps", "a.1", ("a.1 a.2 b.1<a.2",), left="a.2 b.1"),
    Case("a new app that only adds", "a.1", ("a.1 b.1",), left="b.1"),
    Case("the worse one is not applied", "a.1", ("a.1 a.2 a.3!$",), "a.1 a.2", left="a.2"),
    Case("several versions back, each only adds", "a.1", ("a.1 a.2 a.3 a.4", "a.1 a.2 a.3"),
         left="a.2 a.3 a.4"),
    Case("apps that nobody knows", "a.1", ("a.1",), "a.1 x.1 x.2"),
    Case("a third-party app that only adds", "a.1", ("a.1 axes.0001<a.1",), left="axes.0001"),
    Case("heads merged since, and the merge does nothing", "a.1 a.2<a.1",
         ("a.1 a.2<a.1 a.3<a.1 a.4<a.2,a.3",), left="a.3 a.4"),
    Case("two heads that were not merged", "a.1", ("a.1 a.2<a.1 a.3<a.1",), left="a.2 a.3"),
    Case("the target has squashed it", "a.s=a.1,a.2", ("a.1 a.2!",)),
    Case("the target has squashed it, and Django has noted so", "a.s=a.1,a.2", ("a.1 a.2!",), "a.1 a.2 a.s"),
    Case("squashed since", "a.1 a.2!", ("a.s~=a.1,a.2",), "a.1 a.2 a.s"),
    Case("squashed since, and only the known part is applied", "a.1", ("a.s~=a.1,a.2",), "a.1"),
    Case("squashed since, with what only adds", "a.1", ("a.s=a.1,a.2",), "a.1 a.2 a.s", left="a.2"),
    Case("squashed and reversed in part: the row of the squash means nothing", "a.1",
         ("a.s~=a.1,a.2",), "a.1 a.s"),
    Case("what it had squashed is deleted, and its rows are left", "a.s a.3", ("a.s~=a.1,a.2",),
         "a.1 a.2 a.s"),
    Case("the same, and back over what only adds", "a.s", ("a.s a.3", "a.s~=a.1,a.2"), "a.1 a.2 a.s a.3",
         left="a.3"),
    Case("what it had squashed is squashed again", "a.s=a.1,a.2 a.3", ("a.t=a.s,a.1,a.2,a.3",),
         "a.1 a.2 a.s a.3 a.t"),
]  # fmt: skip

REWINDS = [
    Case("breaking", "a.1", ("a.1 a.2!",), by="v2", commands="a.1", reverses="a.2"),
    Case("opaque", "a.1", ("a.1 a.2~",), by="v2", commands="a.1", reverses="a.2"),
    Case("only what is applied of it", "a.1", ("a.1 a.2! a.3!$",), "a.1 a.2", by="v2", commands="a.1",
         reverses="a.2"),
    Case("beside what a failed release has left", "a.1", ("a.1 a.2!", "a.1 a.9<a.1"), "a.1 a.2 a.9",
         by="v3", commands="a.1", reverses="a.2", left="a.9"),
    Case("what only adds stays", "a.1", ("a.1 a.2 a.3!",), by="v2", commands="a.2", reverses="a.3",
         left="a.2"),
    Case("what only adds stays, also when it could not be reversed", "a.1", ("a.1 a.2$ a.3!",), by="v2",
         commands="a.2", reverses="a.3", left="a.2"),
    Case("but not what is built upon it", "a.1", ("a.1 a.2! a.3",), by="v2", commands="a.1",
         reverses="a.3 a.2"),
    Case("all of an app", "a.1", ("a.1 b.1!",), by="v2", commands="b.zero", reverses="b.1"),
    Case("all of an app with several beginnings", "a.1", ("a.1 b.1!<a.1 b.2!<a.1",), by="v2",
         commands="b.zero", reverses="b.2 b.1"),
    Case("two apps that have nothing to do with each other", "a.1 b.1", ("a.1 b.1 a.2! b.2!",), by="v2",
         commands="b.1 a.1", reverses="b.2 a.2"),
    Case("what depends on it in another app goes first", "a.1 b.1", ("a.1 b.1 a.2! b.2!<b.1,a.2",), by="v2",
         commands="b.1 a.1", reverses="b.2 a.2"),
    Case("the same, the other way round", "a.1 b.1", ("a.1 b.1 b.2! a.2!<a.1,b.2",), by="v2",
         commands="a.1 b.1", reverses="a.2 b.2"),
    Case("one command reverses what another app has in between", "a.1 b.1",
         ("a.1 b.1 a.2! b.2!<b.1,a.2 a.3!<a.2,b.2",), by="v2", commands="a.1", reverses="a.3 b.2 a.2"),
    Case("a chain through three apps", "a.1 b.1 c.1", ("a.1 b.1 c.1 a.2! b.2!<b.1,a.2 c.2!<c.1,b.2",),
         by="v2",
         commands="c.1 b.1 a.1", reverses="c.2 b.2 a.2"),
    Case("what only adds in another app, and depends on it", "a.1 b.1", ("a.1 b.1 a.2! b.2<b.1,a.2",),
         by="v2",
         commands="a.1", reverses="b.2 a.2"),
    Case("another app that only adds stays", "a.1", ("a.1 a.2! b.1<a.1",), by="v2", commands="a.1",
         reverses="a.2", left="b.1"),
    Case("a branch and its merge", "a.1", ("a.1 a.2!<a.1 a.3!<a.1 a.4<a.2,a.3",), by="v2", commands="a.1",
         reverses="a.4 a.3 a.2"),
    Case("a branch that only adds goes with the other, where Django cannot part them", "a.1",
         ("a.1 a.2<a.1 a.3!<a.1 a.4<a.2,a.3",), by="v2", commands="a.1", reverses="a.4 a.3 a.2"),
    Case("two heads of the target, each with more since", "a.1 a.2<a.1 a.3<a.1",
         ("a.1 a.2<a.1 a.3<a.1 a.4!<a.2 a.5!<a.3 a.6<a.4,a.5",), by="v2", commands="a.3 a.2",
         reverses="a.6 a.5 a.4"),
    Case("a merge that itself breaks", "a.1 a.2<a.1 a.3<a.1", ("a.1 a.2<a.1 a.3<a.1 a.4!<a.2,a.3",), by="v2",
         commands="a.2", reverses="a.4"),
    Case("a dependency on the user model that settings name", "auth.1 a.1<auth.1",
         ("auth.1 a.1<auth.1 people.1!<auth.1 a.2!<a.1,people.1",), by="v2", commands="a.1 people.zero",
         reverses="a.2 people.1"),
    Case("a third-party app", "a.1 axes.0001", ("a.1 axes.0001 axes.0002!",), by="v2", commands="axes.0001",
         reverses="axes.0002"),
    Case("run_before: the manifest has it as a dependency of the other", "b.1 a.1<b.1",
         ("b.1 c.1!<b.1 a.1<b.1 a.2<a.1,c.1",), by="v2", commands="c.zero", reverses="a.2 c.1"),
    Case("a renamed app: its new name goes, its old one is the target's", "a.1 a.2",
         ("z.1~ z.2<z.1",), "a.1 a.2 z.1 z.2", by="v2", commands="z.zero", reverses="z.2 z.1"),
    Case("a squash of what came since", "a.1", ("a.1 a.s!=a.2,a.3",), "a.1 a.2 a.3 a.s", by="v2",
         commands="a.1",
         reverses="a.s"),
    Case("what came after a squash", "a.1 a.2", ("a.s=a.1,a.2 a.3!<a.s",), "a.1 a.2 a.s a.3", by="v2",
         commands="a.s", reverses="a.3"),
    Case("squashed by the target, with more since", "a.s=a.1,a.2", ("a.1 a.2 a.3!",), by="v2", commands="a.2",
         reverses="a.3"),
    Case("squashed by both, with more since", "a.s=a.1,a.2", ("a.s=a.1,a.2 a.3!<a.s",), by="v2",
         commands="a.s", reverses="a.3"),
    Case("squashed with what the target has: by an artefact that has it unsquashed", "a.1",
         ("a.s~=a.1,a.2", "a.1 a.2!"), "a.1 a.2 a.s", by="v2", commands="a.1", reverses="a.2"),
    Case("squashed since with all that it has, though the newest has deleted that", "a.1 a.2",
         ("a.s a.3!", "a.s=a.1,a.2"), "a.1 a.2 a.s a.3", by="v3", commands="a.s", reverses="a.3"),
    Case("several versions back: the newest knows all", "a.1", ("a.1 a.2! a.3!", "a.1 a.2!"), by="v3",
         commands="a.1", reverses="a.3 a.2"),
    Case("the newest is of another line: the one that knows all", "a.1", ("a.1 b.1", "a.1 a.2!"),
         "a.1 a.2", by="v2", commands="a.1", reverses="a.2"),
    Case("two lines, and one of them only adds", "a.1", ("a.1 b.1", "a.1 a.2!"), by="v2", commands="a.1",
         reverses="a.2", left="b.1"),
    Case("a migration that was corrected: what the newest says of it counts", "a.1", ("a.1 a.2!", "a.1 a.2"),
         by="v3", commands="a.1", reverses="a.2"),
    Case("a name that begins another is no name for Django", "a.1 a.1_x",
         ("a.1 a.1_x a.2!",), by="v2", commands="a.1_x", reverses="a.2"),
]  # fmt: skip

PIN = "; pin a version that knows them, or restore the backup taken before they were applied"
REFUSED = [
    Case("irreversible", "a.1", ("a.1 a.2!$",), refused="(a.2), of which a.2 cannot be reversed"),
    Case("opaque and irreversible", "a.1", ("a.1 a.2~$",), refused="of which a.2 cannot be reversed"),
    Case("one of several is irreversible", "a.1", ("a.1 a.2! b.1!$ a.3!",),
         refused="(a.2, a.3, b.1), of which b.1 cannot be reversed"),
    Case("irreversible upon it, though that only adds", "a.1", ("a.1 a.2! a.3$",),
         refused="of which a.2 is reversed only together with a.3, which cannot be"),
    Case("irreversible upon it in another app", "a.1 b.1", ("a.1 b.1 a.2! b.2$<b.1,a.2",),
         refused="of which a.2 is reversed only together with b.2, which cannot be"),
    Case("an irreversible branch that Django reverses with it", "a.1", ("a.1 a.2$<a.1 a.3!<a.1 a.4<a.2,a.3",),
         refused="of which a.3 is reversed only together with a.2, which cannot be"),
    Case("nobody describes it", "a.1", (), "a.1 a.2", refused="of which a.2 are in no artefact that is kept"),
    Case("those that are kept do not have it", "a.1", ("a.1",), "a.1 a.2 a.3",
         refused="of which a.2, a.3 are in no artefact that is kept"),
    Case("one of several is described by nobody", "a.1", ("a.1 a.2!",), "a.1 a.2 a.9",
         refused="of which a.9 are in no artefact that is kept"),
    Case("each is known to another artefact", "a.1", ("a.1 b.1!", "a.1 a.2!"),
         refused="which no single artefact knows all of"),
    Case("the branch of the merge is not the target's", "a.1 a.2<a.1", ("a.1 a.2<a.1 a.3!<a.1 a.4<a.2,a.3",),
         refused="of which a.3 is reversed only together with a.2, which must stay"),
    Case("two beginnings, of which one is the target's", "a.1", (f"a.1 a.2!<{NOWHERE}",),
         refused="of which a.2 is reversed only together with a.1, which must stay"),
    Case("in one with what the target has", "a.1", ("a.s~=a.1,a.2",), "a.1 a.2 a.s",
         refused="but v2 has a.s for them and for what must stay"),
    Case("a squash of which a part is applied", "a.1", ("a.1 a.s!=a.2,a.3 b.1!",), "a.1 a.2 b.1",
         refused="but v2 has a.s, which is partly applied"),
    Case("the deleted part of a squash is the target's", "a.1 a.2", ("a.s!",), "a.1 a.2 a.s",
         refused="but v2 does not know a.1, a.2"),
    Case("the artefact has forgotten what it squashed", "a.1 a.2 a.3", ("a.1 a.s!<a.1 a.4!",),
         "a.1 a.2 a.3 a.s a.4", refused="but v2 does not know a.2, a.3"),
    Case("built upon it, which only another knows", "a.1", ("a.1 a.2!", "a.1 a.2!$ a.9"), "a.1 a.2 a.9",
         refused="but v3 does not know a.9"),
    Case("built upon it at one remove", "a.1", ("a.1 a.2!", "a.1 a.2!$ b.1<a.2 a.9<b.1"), "a.1 a.2 b.1 a.9",
         refused="but v3 does not know a.9"),
    Case("the target's, which the newer one does not know", "a.1 a.9<a.1", ("a.1 a.2!",), "a.1 a.9 a.2",
         refused="but v2 does not know a.9"),
    Case("no name of its own for what must stay", "a.0 a.1<a.0 a.1_x<a.0",
         ("a.0 a.1<a.0 a.1_x<a.0 a.2!<a.1",), refused="of which a.2 is reversed only together with"),
]  # fmt: skip
CASES = [*DIRECT, *REWINDS, *REFUSED]


def named(words: str) -> tuple[str, ...]:
    return tuple(words.split())


def test_each_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", DIRECT, ids=lambda case: case.name)
def test_goes_back_directly(case: Case) -> None:
    assert case.decided == Decision(left_applied=named(case.left))


@pytest.mark.parametrize("case", REWINDS, ids=lambda case: case.name)
def test_rewinds(case: Case) -> None:
    found = case.decided
    assert found.refusal is None
    assert found.rewind is not None
    assert (found.rewind.version, found.rewind.image) == (case.by, image(case.by))
    assert found.rewind.commands == keys(case.commands)
    assert found.rewind.reverses == named(case.reverses)
    assert found.left_applied == named(case.left)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_refuses(case: Case) -> None:
    found = case.decided
    assert found.refusal is not None
    assert found == Decision(refusal=found.refusal)
    assert found.refusal.startswith("the database has migrations that v1 does not know (")
    assert case.refused in found.refusal
    assert f"{PIN} with relevo restore (rows written since go)" in found.refusal
    assert "\n" not in found.refusal
    # An old project may have deleted such migrations long before it came to Relevo.
    forgotten = "are in no artefact that is kept" in case.refused
    assert ("remove their rows from django_migrations" in found.refusal) == forgotten


FIRST = migration("loans.0001_initial")
ADDS = migration("loans.0002_location")
BREAKING = migration("loans.0003_rename", "breaking")
OTHER_APP = migration("audit.0001_initial")
OTHER_BREAKING = migration("audit.0002_rename", "breaking")

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
    found = decide(target, {one.key for one in applied}, artefacts(*earlier), [])
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
    found = decide(target, {one.key for one in applied}, artefacts(*earlier), history(known))
    assert found.refusal is None
    assert found.rewind is not None
    names = {str(one) for one in named}
    assert names == {*found.rewind.reverses, *found.left_applied}
    assert names.isdisjoint(found.left_behind)


def test_the_record_of_a_first_release_of_the_version_that_removes_an_app_is_no_obstacle() -> None:
    known = history("v1: v2:audit.0002_rename v3:")
    applied = {one.key for one in (FIRST, *AUDIT)}
    assert decide(built("v3", 3, FIRST), applied, artefacts(V2), known).refusal is None


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


@pytest.mark.parametrize(
    ("version", "refused"), [("v1", True), ("v3", False), ("v4", False)], ids=["before it", "after it", "new"]
)
def test_an_app_of_which_no_artefact_is_kept_is_a_matter_for_what_is_older_only(
    version: str, refused: bool
) -> None:
    """Whoever added it may have changed other tables by a RunPython, which nobody can tell any more."""
    known = "v1:loans.0001_initial v2:audit.0001_initial v3:"
    found = decide(manifest(version, FIRST), {FIRST.key, OTHER_APP.key}, [], history(known))
    assert (found.refusal is not None) == refused
    if found.refusal:
        assert "(audit.0001_initial), of which audit.0001_initial are in no artefact" in found.refusal
        assert "or restore the backup 1-v2 with relevo restore" in found.refusal


# -- apps that are renamed ---------------------------------------------------------------------------------
RENAMED = {("a", "1"): ("z", "1"), ("a", "2"): ("z", "2")}


def ran(version: str, schema: str, pending: str = "") -> Release:
    made = release(f"B-{version}", version, pending.split())
    return replace(made, done={**made.done, "migrate": {"schema": schema.split()}})


@pytest.mark.parametrize("target", ["a.1 a.2", "a.s=a.1,a.2", "a.1 a.2 b.1"])
def test_where_an_app_was_renamed_the_version_of_before_does_not_begin_with_empty_tables(target: str) -> None:
    """Only creating, its migrations offend nobody: it would serve, healthy and without a row."""
    known = [ran("v1", "a.1 a.2"), ran("v2", "z.1 z.2", pending="z.1 z.2")]
    found = decide(of("v1", target), set(keys("z.1 z.2")), artefacts(of("v2", "z.1 z.2")), known, RENAMED)
    assert found == Decision(
        refusal="v1 ran here with a.1, a.2, but these are z.1, z.2 in django_migrations now, so migrate "
        "would make their tables anew, without a row; pin a version that knows z.1, z.2, or undo the "
        "renaming, or restore the backup B-v2 with relevo restore (rows written since go)"
    )


@pytest.mark.parametrize(
    ("version", "target", "renamed", "known"),
    [
        pytest.param("v2", "z.1 z.2 z.3", RENAMED, [ran("v2", "z.1 z.2")], id="it knows the new name"),
        pytest.param("v3", "z.1 z.2 a.1", RENAMED, [ran("v1", "a.1")], id="another app has the name now"),
        pytest.param("v1", "a.1 a.2", {}, [ran("v1", "a.1 a.2")], id="they are gone, and not renamed"),
        pytest.param("v1", "b.1 b.2", RENAMED, [ran("v1", "b.1 b.2")], id="it has other apps to apply"),
    ],
)
def test_another_renaming_is_no_obstacle(version, target, renamed, known) -> None:
    newer = artefacts(of("v2", "z.1 z.2"))
    assert decide(of(version, target), set(keys("z.1 z.2")), newer, known, renamed).refusal is None


def test_the_newest_manifest_that_ran_says_what_a_migration_does() -> None:
    """A migration may have been corrected between two builds; what was applied last is what counts."""
    newest = manifest("v3", FIRST, migration("loans.0002_location", "breaking"))
    older = manifest("v2", FIRST, ADDS)
    applied = {FIRST.key, ADDS.key}
    assert decide(manifest("v1", FIRST), applied, artefacts(newest, older), []).rewind is not None
    assert decide(manifest("v1", FIRST), applied, artefacts(older, newest), []).rewind is None


def test_what_is_lost_is_said_with_the_backup_that_has_its_values() -> None:
    """Django reverses a dropped column by making it anew."""
    known = [release("B1", "v1", ["loans.0001_initial"]), release("B2", "v2", ["loans.0003_rename"])]
    drops = replace(BREAKING, loses=("Remove field note from loan",))
    found = decide(
        manifest("v1", FIRST), {FIRST.key, drops.key}, artefacts(manifest("v2", FIRST, drops)), known
    )
    assert found.rewind is not None
    assert found.rewind.lost == ("loans.0003_rename (Remove field note from loan)",)
    (line,) = found.lines()
    assert "loans.0003_rename (Remove field note from loan) drops or cuts stays LOST" in line
    assert "in the backup B2 alone, which relevo restore brings back" in line


def test_the_backup_is_that_of_before_what_loses_values_and_not_of_before_all_that_is_reversed() -> None:
    renames, drops = BREAKING, replace(OTHER_BREAKING, loses=("Remove field note from loan",))
    known = [
        release("B1", "v1", [str(FIRST)]),
        release("B2", "v2", [str(renames)]),
        release("B3", "v3", [str(drops)]),
    ]
    newest = manifest("v3", FIRST, renames, OTHER_APP, drops)
    target = manifest("v1", FIRST, OTHER_APP)
    found = decide(target, {FIRST.key, OTHER_APP.key, renames.key, drops.key}, artefacts(newest), known)
    assert found.rewind is not None
    assert found.rewind.reverses == (str(drops), str(renames))
    assert found.rewind.backup == "B3"


def test_the_backup_of_the_record_that_has_none_of_the_surplus_is_named() -> None:
    known = [
        release(name, "v2", pending)
        for name, pending in (("B1", ["loans.0001_initial"]), ("B2", ["loans.0003_rename"]), ("B3", []))
    ]
    running = manifest("v2", FIRST, replace(BREAKING, reversible=False))
    found = decide(manifest("v1", FIRST), {FIRST.key, BREAKING.key}, artefacts(running), known)
    assert found.refusal is not None
    assert found.refusal.endswith("or restore the backup B2 with relevo restore (rows written since go)")
