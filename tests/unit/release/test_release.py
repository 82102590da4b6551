"""The plan of a release as the engine gets it: types, names, order and triggers are promises."""

from __future__ import annotations

import base64
import itertools
import json
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest
from pulumi.output import UNKNOWN, Unknown
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockMonitor, MockResourceArgs, Mocks
from pulumi.runtime.stack import run_pulumi_func
from pulumi.runtime.sync_await import _sync_await

from components.release.context import trigger
from components.release.release import Release, ReleaseArgs
from components.release.spec import Commands, Spec
from components.target import Target
from tests.unit.release.stand_in import OPERATIONS, specification

FACTS = {"stack": "local", "ports": {"public": 8000}}
COMMAND = "command:local:Command"
SMOKE = "pulumi-python:dynamic/relevo:Smoke"
COMPONENT = "relevo:release:Release"
PLAIN = [
    "open-record",
    "preflight",
    "backup",
    "check",
    "rewind",
    "migrate",
    "collectstatic",
    "previous-version",
    "roll-instance-1",
    "roll-instance-2",
    "smoke",
    "close-record",
    "notify",
]


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A resource as the program asked the engine for it. `after` has the names that it depends on."""

    type: str
    name: str
    parent: str
    inputs: dict[str, Any]
    after: set[str]


class StandInEngine(Mocks):
    """Each command prints its own name."""

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict]:
        printed = {"stdout": f"printed by {args.name}"} if args.typ == COMMAND else {}
        return f"{args.name}-id", {**args.inputs, **printed}

    def call(self, args) -> tuple[dict, None]:
        return {}, None


class RecordingMonitor(MockMonitor):
    def __init__(self, mocks: Mocks) -> None:
        super().__init__(mocks)
        self.declared: list[Declared] = []

    def RegisterResource(self, request):
        self.declared.append(
            Declared(
                type=request.type,
                name=request.name,
                parent=request.parent.rpartition("::")[2],
                inputs=rpc.deserialize_properties(request.object),
                after={urn.rpartition("::")[2] for urn in request.dependencies},
            )
        )
        return super().RegisterResource(request)


def declare(spec: Spec, *, built: str | None = None, preview: bool = False) -> dict[str, Declared]:
    """The children of the release, by name, in the order in which the engine was asked for them.

    `built`: the image that this very `up` makes, unknown in a preview.
    """
    engine = StandInEngine()
    monitor = RecordingMonitor(engine)
    pulumi.runtime.set_mocks(engine, preview=preview, monitor=monitor)

    async def program() -> None:
        target = Target(
            stack="local",
            instances=spec.instances,
            processes=spec.processes,
            operations=OPERATIONS,
            facts=pulumi.Output.from_input(FACTS),
            public_url=pulumi.Output.from_input("http://site.example"),
            image=making(built) if built else None,
            ready=(pulumi.CustomResource("relevo:local:Server", "server", {}),),
        )
        Release("release", ReleaseArgs(target=target, spec=spec))

    _sync_await(run_pulumi_func(program))
    return {one.name: one for one in monitor.declared if one.parent == "release"}


def making(image: str) -> pulumi.Output[str]:
    """An image that is known after it is made: never in a preview."""
    return pulumi.Output.from_input(UNKNOWN if pulumi.runtime.is_dry_run() else image)  # pyright: ignore[reportReturnType]


@pytest.fixture(scope="module")
def plain() -> dict[str, Declared]:
    return declare(specification("v1"))


def test_the_steps_have_these_names_types_and_order(plain) -> None:
    assert [(one.name, one.type) for one in plain.values()] == [
        (name, SMOKE if name == "smoke" else COMMAND) for name in PLAIN
    ]


def test_each_step_waits_for_the_one_before(plain) -> None:
    for before, name in itertools.pairwise(PLAIN):
        assert before in plain[name].after, f"{name} must wait for {before}"


def test_a_failed_step_stops_all_that_follow(plain) -> None:
    """The engine runs what depends on nothing that failed: so every later step must lead back to each."""
    reached = {PLAIN[0]}
    for name in PLAIN[1:]:
        assert plain[name].after & reached
        reached.add(name)


def test_each_command_runs_its_task_and_is_never_deleted(plain) -> None:
    tasks = {
        "open-record": "open_record",
        "preflight": "preflight",
        "backup": "backup",
        "check": "manage check",
        "rewind": "rewind",
        "migrate": "manage migrate",
        "collectstatic": "manage collectstatic",
        "previous-version": "previous_version",
        "roll-instance-1": "roll instance-1",
        "roll-instance-2": "roll instance-2",
        "close-record": "close_record",
        "notify": "notify",
    }
    for name, words in tasks.items():
        inputs = plain[name].inputs
        assert inputs["create"] == f"python -m components.release.tasks.{words}"
        assert not {"delete", "update", "dir", "stdin", "interpreter"} & inputs.keys()


def test_every_command_has_the_same_description_and_no_path_of_a_checkout(plain) -> None:
    environments = [one.inputs["environment"] for one in plain.values() if one.type == COMMAND]
    assert all(environment == environments[0] for environment in environments)
    assert set(environments[0]) == {"RELEVO_TARGET", "RELEVO_RELEASE", "PYTHONUNBUFFERED"}
    assert json.loads(environments[0]["RELEVO_TARGET"]) == {
        "stack": "local",
        "operations": OPERATIONS,
        "facts": FACTS,
    }
    assert Spec.from_json(environments[0]["RELEVO_RELEASE"]) == specification("v1")


def test_the_first_step_is_triggered_by_what_is_released_and_the_others_by_its_id_too(plain) -> None:
    environment = plain["open-record"].inputs["environment"]
    described = trigger(environment["RELEVO_TARGET"], environment["RELEVO_RELEASE"])
    assert plain["open-record"].inputs["triggers"] == [described]
    for name in PLAIN[1:]:
        if name != "smoke":
            assert plain[name].inputs["triggers"] == [described, "printed by open-record"]


def test_the_verification_belongs_to_the_release_that_was_opened(plain) -> None:
    inputs = plain["smoke"].inputs
    environment = plain["open-record"].inputs["environment"]
    assert inputs["release"] == "printed by open-record"
    assert inputs["target"] == environment["RELEVO_TARGET"]
    assert inputs["spec"] == environment["RELEVO_RELEASE"]


def test_the_state_has_the_verification_by_its_name_and_not_its_code(plain) -> None:
    """Else each change of a line there would be a change of the resource."""
    provider = base64.b64decode(plain["smoke"].inputs["__provider"])
    assert b"components.release.smoke" in provider
    assert len(provider) < 150


def test_nothing_is_released_before_the_target_is_there(plain) -> None:
    assert "server" in plain["open-record"].after


def test_everything_that_a_stack_may_add_has_its_place() -> None:
    spec = specification(
        "v1",
        instances=("instance-1", "instance-2", "instance-3"),
        processes=("worker", "scheduler"),
        commands=Commands(
            before_migrate=(("wait",),),
            after_migrate=(("loaddata", "roles"), ("index",)),
            before_collectstatic=(("compress",),),
            after_collectstatic=(("warm",),),
        ),
    )
    declared = declare(spec)
    assert list(declared) == [
        "open-record",
        "preflight",
        "backup",
        "check",
        "rewind",
        "before-migrate-1",
        "migrate",
        "after-migrate-1",
        "after-migrate-2",
        "before-collectstatic-1",
        "collectstatic",
        "after-collectstatic-1",
        "previous-version",
        "roll-worker",
        "roll-scheduler",
        "roll-instance-1",
        "roll-instance-2",
        "roll-instance-3",
        "smoke",
        "close-record",
        "notify",
    ]
    for before, name in itertools.pairwise(declared):
        assert before in declared[name].after
    task = "python -m components.release.tasks."
    assert declared["after-migrate-2"].inputs["create"] == f"{task}manage after-migrate 2"
    assert declared["roll-worker"].inputs["create"] == f"{task}roll worker"


def test_without_static_files_there_is_no_step_for_them() -> None:
    assert list(declare(specification("v1", collectstatic=False))) == [
        name for name in PLAIN if name != "collectstatic"
    ]


def test_a_drill_comes_right_after_the_backup_that_it_restores() -> None:
    assert [*PLAIN[:3], "drill", *PLAIN[3:]] == list(declare(specification("v1", drill=True)))


def test_what_this_up_builds_is_what_it_releases() -> None:
    built = declare(specification("v1"), built="registry/assets@sha256:built")
    environment = built["open-record"].inputs["environment"]
    assert Spec.from_json(environment["RELEVO_RELEASE"]).image == "registry/assets@sha256:built"
    described = trigger(environment["RELEVO_TARGET"], environment["RELEVO_RELEASE"])
    assert built["preflight"].inputs["triggers"] == [described, "printed by open-record"]
    assert built["smoke"].inputs["spec"] == environment["RELEVO_RELEASE"]


def test_a_preview_shows_the_steps_of_an_image_that_is_not_built_yet() -> None:
    steps = declare(specification("v1"), built="registry/assets@sha256:built", preview=True)
    assert list(steps) == PLAIN
    assert steps["migrate"].inputs["create"] == "python -m components.release.tasks.manage migrate"
    assert isinstance(steps["migrate"].inputs["environment"]["RELEVO_RELEASE"], Unknown)


@pytest.mark.parametrize("count", [2, 4, 12])
def test_each_instance_is_a_step_of_its_own(count: int) -> None:
    names = tuple(f"instance-{number}" for number in range(1, count + 1))
    rolls = [name for name in declare(specification("v1", instances=names)) if name.startswith("roll-")]
    assert rolls == [f"roll-{name}" for name in names]


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "v2"},
        {"instances": ("instance-1", "instance-2", "instance-3")},
        {"scenario": "steps: [{name: opens, request: {path: /}}]"},
        {"responsible": "Grace"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_any_change_of_the_description_is_another_release(plain, changes) -> None:
    triggers = plain["open-record"].inputs["triggers"]
    changed = declare(specification(**{"version": "v1", **changes}))
    assert changed["open-record"].inputs["triggers"] != triggers


def test_the_same_description_is_the_same_release(plain) -> None:
    again = declare(specification("v1"))
    assert again["open-record"].inputs == plain["open-record"].inputs


def test_the_order_of_what_is_described_does_not_matter() -> None:
    spec = specification("v1").to_json()
    one, other = '{"facts": {"a": 1, "b": 2}, "stack": "s"}', '{"stack": "s", "facts": {"b": 2, "a": 1}}'
    assert trigger(one, spec) == trigger(other, spec)
