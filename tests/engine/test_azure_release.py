"""Whole `pulumi up`s of stacks on Azure, release and rollback in them, on a stand-in subscription.

The engine, the program, every step and Microsoft's clients are real; what they speak to is not.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.release import record
from components.release.context import APPROVED
from tests.azure import home
from tests.azure.project import AzureProject
from tests.azure.stand_in import StandInAzure
from tests.azure.subscription import FIRST, SECOND, THIRD, StandInSubscription, labels, manifest


class Stack:
    """A stack on a subscription of its own, with v1 to v3 in its registry, each with one more migration.

    v1 runs on what v2 adds to the schema; v2 does not run on what v3 changes in it.
    """

    def __init__(self, name: str, folder: Path, azure: StandInSubscription, home: dict[str, str]) -> None:
        self.azure = azure
        self.store = azure.store
        self.output = ""
        self.digests = {
            "v1": azure.push(manifest("v1", FIRST)),
            "v2": azure.push(manifest("v2", FIRST, SECOND)),
            "v3": azure.push(manifest("v3", FIRST, SECOND, THIRD)),
        }
        self.project = AzureProject(folder, name, azure.store, {**home, **azure.environment()})
        if name != "dev":  # in whose `up`s the rules are asked; of every stack in test_azure_stacks.py
            del self.project.environment["PULUMI_OPTION_POLICY_PACK"]
        self.project.smoke_lightly()
        self.project.init()

    def release(self, version: str, *, status: int = 0) -> str:
        self.project.pin_digest(self.digests[version])
        return self.project.up_at_once(status=status)

    def serving(self) -> dict[str, str | None]:
        """Instance in rotation → the version that its worker runs."""
        return {
            origin.instance: self.azure.sites[origin.site].runs()
            for origin in sorted(self.azure.origins.values(), key=lambda origin: origin.instance)
            if origin.state == "Enabled"
        }

    def mend(self) -> None:
        """Nothing fails any more."""
        self.azure.broken, self.azure.unreadable = {}, {}
        self.azure.fail_no_more()
        self.project.environment.pop(APPROVED, None)
        for site in self.azure.sites.values():
            site.crashing = {}

    def record(self) -> list[record.Entry]:
        return record.parse(self.azure.blob("logbook", "record.jsonl").download_blob().readall())

    def failed(self) -> tuple[record.Entry, str]:
        """What failed last, and the verdict on its release; of what was refused there is none."""
        entries = self.record()
        (last,) = [entry for entry in entries if entry.event in ("step failed", "attempt refused")][-1:]
        current = record.current(record.releases(entries))
        assert current is not None
        return last, current.verdict if current.id == last.release else "none"

    def patched(self, since: int) -> list[str]:
        """Names of the sites and origins that were asked to change, from this number of requests on."""
        return [
            request.partition("?")[0].rpartition("/")[2]
            for request in self.azure.requests[since:]
            if request.startswith("PATCH ") and ("/sites/" in request or "/origins/" in request)
        ]

    @property
    def migrations(self) -> list[str]:
        return [name for _, name in self.azure.applied]


@pytest.fixture(scope="module")
def new_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Stack]]:
    variables = home.make(tmp_path_factory.mktemp("home"), os.environ)
    with ExitStack() as running:

        def make(name: str) -> Stack:
            folder = tmp_path_factory.mktemp(name)
            azure = StandInSubscription(
                folder, StandInAzure.make(folder / "azure"), account=f"stprestamos{name}"
            )
            running.enter_context(azure)
            return Stack(name, folder / "project", azure, variables)

        yield make


@pytest.fixture(scope="module")
def qa(new_stack: Callable[[str], Stack]) -> Stack:
    """v1 released on both instances."""
    stack = new_stack("qa")
    stack.release("v1")
    return stack


@pytest.fixture(scope="module")
def prod(new_stack: Callable[[str], Stack]) -> Stack:
    """Begun, but a resource of the edge could not be made."""
    stack = new_stack("prod")
    stack.store.order(fail={"edge-protect-public": 'Status=409 Code="Conflict"'})
    stack.output = stack.release("v1", status=1)
    return stack


@dataclass(frozen=True)
class Fault:
    """`step` fails by `told` once `begin` has been done; then `serving`: versions of the two instances."""

    step: str
    begin: Callable[[Stack], object]
    told: str
    serving: tuple[str, str] = ("v1", "v1")
    verdict: str = "failed"


def broken(name: str, told: str = "no space left on device") -> Callable[[Stack], object]:
    return lambda stack: stack.azure.broken.update({name: told})


def crashing(instance: int, version: str = "v2") -> Callable[[Stack], object]:
    def begin(stack: Stack) -> None:
        image = stack.project.image(stack.digests[version])
        site = stack.azure.origins[f"instance-{instance}"].site
        stack.azure.sites[site].crashing[image] = ["[ERROR] Worker failed to boot."]

    return begin


FAULTS = (
    Fault(
        "open-record",
        lambda stack: stack.project.environment.update({APPROVED: "another"}),
        "RELEVO_APPROVED_PREVIEW is another, but this release is",
        verdict="none",
    ),
    Fault("preflight", broken("django_facts.py"), "cannot be loaded (no space left on device)"),
    Fault("backup", broken("dump"), "no space left on device"),
    Fault("check", broken("check"), "manage.py check --deploy --fail-level ERROR exited 1"),
    Fault("rewind", broken("schema"), "migrations cannot be read (no space left on device)"),
    Fault("migrate", broken("migrate", "django.db.utils.OperationalError: lock timeout"), "lock timeout"),
    Fault("after-migrate-1", broken("smoke_user"), "manage.py smoke_user exited 1"),
    Fault(
        "previous-version",
        lambda stack: stack.azure.unreadable.update({"v1": "status is 500, but expected 200"}),
        "v1, which still serves, fails on the schema of v2",
    ),
    Fault("roll-instance-1", crashing(1), "instance-1 serves v1 again"),
    Fault("roll-instance-2", crashing(2), "instance-2 serves v1 again", ("v2", "v1")),
    Fault("smoke", broken("/docs/"), "status is 500, but expected 200", ("v2", "v2")),
    Fault(
        "close-record",
        lambda stack: stack.azure.fail("GET", "/acr/v1/", status=403, times=9),
        "403",
        ("v2", "v2"),
        verdict="succeeded",  # what serves is good, whatever it takes to tidy up after it
    ),
)


def test_each_step_that_fails_stops_the_release_and_the_next_up_goes_on_from_there(qa: Stack) -> None:
    assert qa.serving() == {"instance-1": "v1", "instance-2": "v1"}
    assert qa.migrations == ["0001"]

    qa.project.pin_digest(qa.digests["v2"])
    for fault in FAULTS:
        fault.begin(qa)
        output = qa.project.release_alone(status=1)
        assert fault.told in output, fault.step
        assert tuple(qa.serving().values()) == fault.serving, fault.step
        entry, verdict = qa.failed()
        assert fault.told in (entry.error or ""), fault.step
        assert entry.step == (fault.step if verdict != "none" else None)
        assert verdict == fault.verdict, fault.step
        qa.mend()
    qa.project.release_alone()

    assert qa.serving() == {"instance-1": "v2", "instance-2": "v2"}
    assert qa.migrations == ["0001", "0002"]
    assert qa.azure.fewest_in_rotation == 1
    last = record.current(record.releases(qa.record()))
    assert last is not None
    assert last.verdict == "succeeded"
    done = Counter(
        entry.step for entry in qa.record() if (entry.event, entry.release) == ("step done", last.id)
    )
    assert set(done.values()) == {1}  # no step ran again that had ended well
    # Whom notify cannot reach fails no release.
    assert {fault.step for fault in FAULTS} == done.keys() - {"notify"}


def test_a_bad_release_comes_back_by_itself_and_reverses_what_it_did_to_the_schema(qa: Stack) -> None:
    """By jobs in the network: the newer image is asked what it would reverse, and reverses it."""
    qa.project.set("acceptIncompatible", "v3")
    qa.project.set("onFailure", "rollback")
    qa.project.pin_digest(qa.digests["v3"])
    crashing(2, "v3")(qa)
    ran = len(qa.azure.executed)
    output = qa.project.release_alone(status=1)
    qa.mend()
    qa.project.unset("onFailure")

    images = {version: qa.project.image(digest) for version, digest in qa.digests.items()}
    assert "instance-2 serves v2 again" in output
    assert "v2 serves again, and is pinned; v3 is not released" in output
    assert qa.project.settings()["image"] == images["v2"]
    assert qa.serving() == {"instance-1": "v2", "instance-2": "v2"}
    assert qa.migrations == ["0001", "0002"]

    *_, failed, back = record.releases(qa.record())
    assert (failed.version, failed.verdict, failed.failed_step) == ("v3", "failed", "roll-instance-2")
    assert (back.version, back.verdict, back.kind) == ("v2", "succeeded", "recovery")
    assert back.done["rewind"]["reversed"] == ["loans.0003"]

    order = [
        step for step in back.begun if step in ("backup", "rewind", "migrate") or step.startswith("roll-")
    ]
    assert order == ["backup", "rewind", "migrate", "roll-instance-1", "roll-instance-2"]
    jobs = [
        (version, *execution.words[:4])
        for execution in qa.azure.executed[ran:]
        for version, image in images.items()
        if execution.container.image == image
    ]
    assert [job for job in jobs if job[1] == "dump" or job[2:4] == ("migrate", "loans")] == [
        ("v3", "dump", failed.done["backup"]["name"]),
        ("v2", "dump", back.done["backup"]["name"]),
        ("v3", "manage.py", "migrate", "loans", "0002"),
    ]
    assert [job[0] for job in jobs if "# to reverse ('loans.0003',)" in job[-1]] == ["v3"]


def test_new_instances_get_the_release_before_traffic_and_the_way_back_is_a_pin(qa: Stack) -> None:
    made, asked = len(qa.store.journal()), len(qa.azure.requests)
    qa.project.set("instances", 8)
    assert "v2 → v1" in qa.release("v1")
    names = [f"instance-{number}" for number in range(1, 9)]
    assert qa.serving() == dict.fromkeys(names, "v1")
    last = record.current(record.releases(qa.record()))
    assert last is not None
    assert last.done["rewind"]["left_applied"] == ["loans.0002"]
    assert qa.migrations == ["0001", "0002"]
    assert qa.azure.fewest_in_rotation == 1

    origins = {
        entry["id"].rpartition("/")[2]: entry["inputs"]["enabledState"]
        for entry in qa.store.journal("create")
        if "/originGroups/app/origins/" in entry["id"]
    }
    assert origins == {name: "Enabled" if name in names[:2] else "Disabled" for name in names}
    assert len(qa.store.journal()) > made
    patched = qa.patched(asked)
    for name in names[2:]:
        assert patched.index(qa.azure.origins[name].site) < patched.index(name)


def test_removed_instances_serve_no_old_version_after_a_roll_and_all_can_be_destroyed(qa: Stack) -> None:
    made, asked, served = len(qa.store.journal()), len(qa.azure.requests), len(qa.azure.served)
    sites = {name: origin.site for name, origin in qa.azure.origins.items()}
    qa.project.set("instances", 2)
    qa.release("v2")
    assert qa.serving() == {"instance-1": "v2", "instance-2": "v2"}
    answers = qa.azure.served[served:]
    assert "v1" in {version for _, version in answers}  # while the others were rolled
    assert {version for path, version in answers if path == "/docs/"} == {"v2"}  # which smoke alone asks
    gone = [entry["id"] for entry in qa.store.journal()[made:] if entry["operation"] == "delete"]
    for number in range(3, 9):
        (origin,) = (at for at, id_ in enumerate(gone) if id_.endswith(f"/app/origins/instance-{number}"))
        (site,) = (at for at, id_ in enumerate(gone) if id_.endswith(f"/sites/{sites[f'instance-{number}']}"))
        assert origin < site
        # Deletions are the last that an `up` does; before them the release has emptied it.
        assert f"instance-{number}" in qa.patched(asked)

    created = Counter(entry["id"] for entry in qa.store.journal("create"))
    assert set(created.values()) == {1}
    qa.project.destroy()
    assert qa.store.resources() == []


def test_dev_builds_the_image_of_a_pinned_artefact_and_releases_it(new_stack: Callable[[str], Stack]) -> None:
    dev = new_stack("dev")
    dev.project.pin_artefact(labels(manifest("v3", FIRST)))
    output = dev.project.up_at_once()
    assert "✅ relevo@" in output
    assert "can't run policy" not in output
    assert dev.serving() == {"instance-1": "v3", "instance-2": "v3"}
    (pushed,) = dev.store.journal("push")
    placed = {site.image for site in dev.azure.sites.values()}
    assert placed == {f"DOCKER|{dev.project.image(pushed['digest'])}"}
    dev.project.preview("--expect-no-changes")
    dev.project.destroy()
    assert dev.store.resources() == []


def test_a_resource_that_fails_stops_the_up_before_anything_is_released(prod: Stack) -> None:
    assert 'Code="Conflict"' in prod.output
    assert "preflight" not in prod.output
    assert all(not site.image for site in prod.azure.sites.values())


def test_what_holds_data_in_prod_is_neither_replaced_nor_destroyed(prod: Stack) -> None:
    prod.project.azure_set("location", "northeurope")
    output = prod.project.preview(status=1)
    prod.project.azure_set("location", "westeurope")
    # The engine gives up at the first; which of them that is, is chance.
    assert "unable to replace resource" in output
    assert "database-server" in output or "group" in output

    before = len(prod.store.resources())
    output = prod.project.run("pulumi", "destroy", "--stack", "prod", "--yes", status=1)
    assert "protected" in output
    assert len(prod.store.resources()) == before


def test_the_next_up_goes_on_releases_on_three_instances_and_leaves_nothing_to_do(prod: Stack) -> None:
    prod.store.order()
    prod.release("v1")
    assert prod.serving() == {"instance-1": "v1", "instance-2": "v1", "instance-3": "v1"}
    assert prod.azure.fewest_in_rotation == 2
    prod.project.preview("--expect-no-changes")


def test_a_change_by_hand_is_shown_by_a_refresh(prod: Stack) -> None:
    prod.store.drift("stprestamosprod", allowBlobPublicAccess=True)
    output = prod.project.run(
        "pulumi", "refresh", "--stack", "prod", "--preview-only", "--diff", "--non-interactive"
    )
    prod.store.drift("stprestamosprod", allowBlobPublicAccess=False)
    assert "allowBlobPublicAccess: false => true" in output
    assert "1 to update" in output


def test_prod_is_left_as_the_documentation_says(prod: Stack) -> None:
    """docs/azure.md, "How to leave": an `up` without guard and rules takes the locks away, and no more."""
    prod.project.environment["PULUMI_OPTION_POLICY_PACK"] = ""
    prod.project.azure_set("guard", False)
    deleted = len(prod.store.journal("delete"))
    prod.project.up_at_once()
    gone = [entry["id"].rpartition("/")[2] for entry in prod.store.journal("delete")[deleted:]]
    assert gone == ["relevo-keep"] * 4
    assert prod.serving() == {"instance-1": "v1", "instance-2": "v1", "instance-3": "v1"}

    prod.project.destroy()
    assert prod.store.resources() == []
