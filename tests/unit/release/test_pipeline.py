"""Which revisions CI lets out: a wrong yes releases what is broken."""

from __future__ import annotations

import pytest

from components.release.pipeline import CheckRun, State, refusal
from components.release.spec import Pipeline

REVISION = "0123456789abcdef0123456789abcdef01234567"


def wanted(*checks: str, all_but: tuple[str, ...] = ()) -> Pipeline:
    return Pipeline(
        github="octo/loans",
        checks=checks,
        all_but=all_but,
        token="GITHUB_TOKEN",
        api="https://api.github.com",
    )


def ran(name: str, state: State = "green", detail: str = "success") -> CheckRun:
    return CheckRun(name=name, state=state, detail=detail)


LINT, TESTS = ran("lint"), ran("tests")
RED = ran("tests", "red", "timed_out")
RUNNING = ran("tests", "running", "in_progress")
RELEASE = ran("release", "running", "in_progress")


@pytest.mark.parametrize(
    ("found", "asked"),
    [
        pytest.param([LINT, TESTS], wanted("lint", "tests"), id="all that are named are green"),
        pytest.param([LINT, RED], wanted("lint"), id="one that is not named is red"),
        pytest.param([TESTS, RELEASE], wanted("tests"), id="the job that releases is not named"),
        pytest.param([TESTS, RELEASE], wanted(all_but=("release",)), id="all but the job that releases"),
        pytest.param([LINT, TESTS], wanted(), id="all"),
    ],
)
def test_lets_out(found, asked: Pipeline) -> None:
    assert refusal(found, asked, REVISION) is None


@pytest.mark.parametrize(
    ("found", "asked", "said"),
    [
        pytest.param([LINT, RED], wanted("lint", "tests"), "red at tests (timed_out); correct it", id="red"),
        pytest.param([LINT, RED], wanted(), "red at tests (timed_out); correct it", id="red among all"),
        pytest.param([RUNNING], wanted("tests"), "still running tests (in_progress); wait", id="running"),
        pytest.param([TESTS, RELEASE], wanted(), "still running release (in_progress); wait", id="itself"),
        pytest.param([LINT], wanted("lint", "tests"), "has no check tests; push", id="one is not there"),
        pytest.param([], wanted("lint", "tests"), "has no check lint, tests; push", id="none is there"),
        pytest.param([], wanted(), "has no check at all; push", id="none of all"),
        pytest.param([RELEASE], wanted(all_but=("release",)), "has no check at all; push", id="itself alone"),
        pytest.param([TESTS, RED], wanted("tests"), "red at tests (timed_out);", id="one of the same name"),
        pytest.param(
            [LINT, RED, RUNNING], wanted("lint", "tests", "e2e"),
            "red at tests (timed_out), still running tests (in_progress), has no check e2e; correct it",
            id="all faults at once",
        ),
    ],
)  # fmt: skip
def test_refuses(found, asked: Pipeline, said: str) -> None:
    refused = refusal(found, asked, REVISION)
    assert refused is not None
    assert refused.startswith(f"revision 0123456789ab in octo/loans: {said}")
    assert "\n" not in refused
