"""When a replaced instance may serve. A 200 alone proves nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from components.release import gate
from components.release.context import StepFailed
from components.release.gate import pass_gate, readiness_fault
from components.target import Deployment
from tests.unit.release.conftest import opened
from tests.unit.release.stand_in import (
    Answer,
    Slot,
    StandInOperations,
    StandInSite,
    image,
    instance_of,
    probe,
    serving,
)

WANTED = Deployment(image=image("v2"), version="v2", release="2-v2")
OLD = Deployment(image=image("v1"), version="v1", release="1-v1")
NAME = "instance-1"


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(gate, "PAUSE", 0.01)


@pytest.fixture
def site(operations: StandInOperations) -> Iterator[StandInSite]:
    """instance-1, which runs what is wanted, and is ready."""
    with serving(instance_of(operations, NAME)) as found:
        operations.slots[NAME] = Slot(asked=WANTED, runs=WANTED, address=found.url)
        yield found


def fault(operations: StandInOperations, **changes) -> str | None:
    made, _ = opened(operations, "v2", probe=probe(**changes))
    return readiness_fault(made, NAME, WANTED)


def test_one_that_is_what_was_asked_for_and_answers_is_ready(operations, site) -> None:
    assert fault(operations) is None
    assert site.paths == ["GET /healthz/"]
    assert site.asked[0].headers["Host"] == "site.example"


def test_a_process_that_does_not_run(operations, site) -> None:
    operations.slots[NAME].runs = None
    assert fault(operations) == "its process does not run"
    assert site.asked == []


@pytest.mark.parametrize(
    "runs", [OLD, Deployment(image=WANTED.image, version="v2", release="1-v2")], ids=["version", "release"]
)
def test_a_stale_process_that_answers_200(operations, site, runs: Deployment) -> None:
    operations.slots[NAME].runs = runs
    site.answer = lambda _: Answer(headers={"X-Release": "v2", "X-Instance": NAME})
    assert fault(operations) == "its process is not yet that of v2"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=503), "/healthz/ answers 503, but expected 200"),
        (Answer(status=301, headers={"Location": "https://site.example/"}), "answers 301, but expected 200"),
        (Answer(headers={"X-Instance": NAME}), "X-Release is None, but expected 'v2'"),
        (
            Answer(headers={"X-Release": "v1", "X-Instance": NAME}),
            "X-Release is 'v1', but expected 'v2'",
        ),
        (
            Answer(headers={"X-Release": "v2", "X-Instance": "instance-2"}),
            "X-Instance is 'instance-2', but expected 'instance-1'",
        ),
    ],
)
def test_each_answer_that_is_not_the_expected_one(operations, site, answer: Answer, said: str) -> None:
    site.answer = lambda _: answer
    found = fault(operations)
    assert found is not None
    assert found.endswith(said)


def test_the_expected_status_and_headers_are_the_projects_own(operations, site) -> None:
    site.answer = lambda _: Answer(status=301, headers={"Location": "https://site.example/"})
    assert fault(operations, status=301, release_header=None, instance_header=None) is None
    site.answer = lambda _: Answer(status=204, headers={"X-Version": "v2"})
    assert fault(operations, status=204, release_header="X-Version", instance_header=None) is None


def test_one_that_does_not_answer_in_time(operations, site) -> None:
    released = threading.Event()

    def wait(_) -> Answer:
        released.wait(5)
        return Answer()

    site.answer = wait
    try:
        assert fault(operations, timeout_seconds=0.05) == "/healthz/ does not answer within 0.05 s"
    finally:
        released.set()


def test_one_that_does_not_listen(operations, site) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        operations.slots[NAME].address = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert fault(operations) == "/healthz/ does not answer (ConnectError)"


def test_a_process_without_an_address_is_only_asked_what_it_is(operations) -> None:
    operations.slots[NAME] = Slot(asked=WANTED, runs=WANTED)
    assert fault(operations) is None


# -- waiting -----------------------------------------------------------------------------------------------
def test_waits_until_it_is_ready(operations, site) -> None:
    made, _ = opened(operations, "v2")
    asked = []

    def third_time(request) -> Answer:
        asked.append(request)
        return instance_of(operations, NAME)(request) if len(asked) == 3 else Answer(status=503)

    site.answer = third_time
    pass_gate(made, NAME, WANTED)
    assert len(asked) == 3


def test_gives_up_at_its_limit_and_says_what_is_missing(operations, site) -> None:
    made, _ = opened(operations, "v2")
    site.answer = lambda _: Answer(status=503)
    began = time.monotonic()
    with pytest.raises(
        StepFailed, match=r"not ready after 0\.3 s \(/healthz/ answers 503, but expected 200\)"
    ):
        pass_gate(made, NAME, WANTED)
    assert 0.3 <= time.monotonic() - began < 2


def test_errors_of_its_start_are_not_waited_out(operations, site) -> None:
    made, _ = opened(operations, "v2")
    operations.errors[WANTED.image] = ["ImproperlyConfigured: SECRET_KEY is empty\n"]
    with pytest.raises(StepFailed, match=r"\(ImproperlyConfigured: SECRET_KEY is empty\); see its log\.$"):
        pass_gate(made, NAME, WANTED)
    assert site.asked == []


def test_errors_of_its_start_count_although_it_answers(operations, site) -> None:
    made, _ = opened(operations, "v2")
    operations.errors[WANTED.image] = ["Traceback (most recent call last):"]
    with pytest.raises(StepFailed, match="does not start cleanly"):
        pass_gate(made, NAME, WANTED)
