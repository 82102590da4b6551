"""What GitHub says of a revision. What it does not say is never taken for green."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from github import Auth, Github
from github.Commit import Commit

from components.release import github
from components.release.github import GitHubError, checks
from components.release.pipeline import CheckRun
from components.release.spec import Pipeline
from tests.unit.release import stand_in_github
from tests.unit.release.stand_in import Answer, StandInSite
from tests.unit.release.stand_in_github import REPOSITORY, REVISION, TOKEN, StandInGitHub, refusal


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(github, "PAUSE", 0.0)


@pytest.fixture
def hub() -> Iterator[tuple[StandInGitHub, StandInSite]]:
    with stand_in_github.github() as found:
        yield found


def pipeline(api: str, repository: str = REPOSITORY) -> Pipeline:
    return Pipeline(github=repository, checks=("tests",), all_but=(), token="CI_TOKEN", api=api)


def said(
    site: StandInSite, *, revision: str = REVISION, token: str = TOKEN, repository: str = REPOSITORY
) -> str:
    """How GitHub's answer is told, when it is none."""
    with pytest.raises(GitHubError) as caught:
        checks(pipeline(site.url, repository), revision, token)
    message = str(caught.value)
    assert token not in message
    assert "\n" not in message
    assert "; " in message, "with a remedy"
    return message


def test_check_runs_and_commit_statuses_are_both_asked_for(hub) -> None:
    made, site = hub
    made.runs = [("tests", "completed", "success"), ("lint", "in_progress", None)]
    made.statuses = [("ci/jenkins", "error")]
    assert checks(pipeline(f"{site.url}/"), REVISION, TOKEN) == [
        CheckRun(name="tests", state="green", detail="success"),
        CheckRun(name="lint", state="running", detail="in_progress"),
        CheckRun(name="ci/jenkins", state="red", detail="error"),
    ]
    commit = f"GET /repos/{REPOSITORY}/commits/{REVISION}"
    assert site.paths == [f"{commit}/check-runs?per_page=100&page=1", f"{commit}/status?per_page=100&page=1"]
    assert {request.headers["Authorization"] for request in site.asked} == {f"Bearer {TOKEN}"}
    assert {request.headers["X-GitHub-Api-Version"] for request in site.asked} == {"2022-11-28"}


@pytest.mark.parametrize(
    ("run", "state"),
    [
        *((("completed", conclusion), "green") for conclusion in ("success", "neutral", "skipped")),
        *(
            (("completed", conclusion), "red")
            for conclusion in ("failure", "cancelled", "timed_out", "action_required", "stale", "new", None)
        ),
        *(
            ((status, None), "running")
            for status in ("queued", "in_progress", "waiting", "requested", "pending", "new")
        ),
    ],
)
def test_each_state_of_a_check_run(hub, run: tuple[str, str | None], state: str) -> None:
    made, site = hub
    made.runs = [("tests", *run)]
    assert [check.state for check in checks(pipeline(site.url), REVISION, TOKEN)] == [state]


@pytest.mark.parametrize(
    ("status", "state"), [("success", "green"), ("pending", "running"), ("failure", "red"), ("error", "red")]
)
def test_each_state_of_a_commit_status(hub, status: str, state: str) -> None:
    made, site = hub
    made.statuses = [("ci/jenkins", status)]
    assert [check.state for check in checks(pipeline(site.url), REVISION, TOKEN)] == [state]


def test_a_revision_without_any_check_has_none(hub) -> None:
    assert checks(pipeline(hub[1].url), REVISION, TOKEN) == []


def test_every_page_is_read(hub) -> None:
    """The red one may be on the last."""
    made, site = hub
    made.runs = [(f"tests ({number})", "completed", "success") for number in range(250)]
    made.runs.append(("e2e", "completed", "failure"))
    made.statuses = [(f"ci/{number}", "success") for number in range(101)]
    found = checks(pipeline(site.url), REVISION, TOKEN)
    assert len(found) == len({check.name for check in found}) == 251 + 101
    assert [check.name for check in found if check.state == "red"] == ["e2e"]
    assert len(site.asked) == 3 + 2


def test_fewer_checks_than_announced_are_refused(hub) -> None:
    made, site = hub
    made.runs = [("tests", "completed", "success")]
    made.unnamed = 1
    assert said(site).startswith("GitHub names only 1 of 2 (check-runs);")


# -- when GitHub does not answer ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusal(401, "Bad credentials"), "GitHub does not accept the token in CI_TOKEN (401); give it"),
        (
            refusal(403, "Resource not accessible by personal access token", X_RateLimit_Remaining="4987"),
            "the token in CI_TOKEN may not read the checks of octo/loans (403); give it read access",
        ),
        (
            refusal(403, "x", X_RateLimit_Remaining="0", X_RateLimit_Reset="1795528800"),
            "GitHub's rate limit for CI_TOKEN is used up until 14:00:00 UTC; run pulumi up then",
        ),
        (
            refusal(403, "You have exceeded a secondary rate limit.", Retry_After="60"),
            "GitHub's rate limit for CI_TOKEN is used up for 60 s; run pulumi up then",
        ),
        (
            refusal(403, "You have exceeded a secondary rate limit."),
            "GitHub's rate limit for CI_TOKEN is used up; run pulumi up then",
        ),
        (refusal(429, "Too many requests"), "GitHub's rate limit for CI_TOKEN is used up; run"),
        (refusal(404, "Not Found"), "GitHub has no octo/loans, or not for CI_TOKEN (404); correct"),
        (refusal(422, "No commit found"), "GitHub does not know the revision in octo/loans (422); push it"),
        (refusal(301, "Moved", Location="http://127.0.0.1:9/"), "octo/loans has another name now (301);"),
        (refusal(400, "Bad Request"), "GitHub answers 400 for octo/loans; correct relevo:pipeline"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else str(value.status),
)
def test_each_refusal_is_one_line_and_is_not_asked_for_again(hub, answer: Answer, expected: str) -> None:
    made, site = hub
    made.instead = [answer]
    assert said(site).startswith(expected)
    assert len(site.asked) == 1


@pytest.mark.parametrize("failures", [[500], [502, 503]])
def test_what_passes_is_asked_for_again(hub, failures: list[int]) -> None:
    made, site = hub
    made.runs = [("tests", "completed", "success")]
    made.instead = [Answer(status=status, body="<html>") for status in failures]
    assert [check.name for check in checks(pipeline(site.url), REVISION, TOKEN)] == ["tests"]
    assert len(site.asked) == len(failures) + 2


def test_what_does_not_pass_is_given_up(hub) -> None:
    made, site = hub
    made.instead = [Answer(status=503) for _ in range(9)]
    assert said(site).startswith(f"{site.url} answers 503, 3 times; run pulumi up again when GitHub works")
    assert len(site.asked) == 3


def test_a_github_that_cannot_be_reached() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(
            GitHubError, match=r"does not answer \(ConnectError\), 3 times; run pulumi up again"
        ):
            checks(pipeline(nowhere), REVISION, TOKEN)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>log in</html>",
        [],
        {},
        {"total_count": 1},
        {"total_count": 1, "check_runs": [{"name": "tests", "status": "completed"}]},
        {"total_count": 0, "check_runs": None},
    ],
)
def test_an_answer_of_another_shape_is_not_taken_for_green(hub, body) -> None:
    made, site = hub
    made.instead = [Answer(body=body)]
    assert said(site).startswith(f"{site.url} does not answer as GitHub does (check-runs); correct")


@pytest.mark.parametrize(
    "revision", ["main", "0123456", REVISION[:-1], REVISION.upper(), f"{REVISION}/../x", ""]
)
def test_only_a_whole_commit_is_asked_for(hub, revision: str) -> None:
    """GitHub takes anything else for a branch or tag, which may be green where the artefact is not."""
    _, site = hub
    assert "which is no whole commit; build it again" in said(site, revision=revision)
    assert site.asked == []


def test_the_stand_in_refuses_as_github_does(hub) -> None:
    _, site = hub
    assert "(401)" in said(site, token="another")
    assert "(404)" in said(site, repository="octo/other")
    assert "(422)" in said(site, revision="f" * 40)


def test_a_client_that_is_not_ours_reads_the_same(hub) -> None:
    """PyGithub agrees on addresses, pages, names and types: the stand-in is no invention of ours."""
    made, site = hub
    made.runs = [(f"tests ({number})", "completed", "success") for number in range(130)]
    made.runs += [("lint", "in_progress", None), ("e2e", "completed", "timed_out")]
    made.statuses = [("ci/jenkins", "success"), ("ci/scan", "pending")]
    with Github(base_url=site.url, auth=Auth.Token(TOKEN), per_page=100) as client:
        commit = Commit(client.requester, {}, {"url": f"/repos/{REPOSITORY}/commits/{REVISION}"})
        runs = list(commit.get_check_runs())
        combined = commit.get_combined_status()
    assert [(run.name, run.status, run.conclusion) for run in runs] == made.runs
    assert [(status.context, status.state) for status in combined.statuses] == made.statuses
    assert (combined.sha, combined.total_count, combined.state) == (REVISION, 2, "pending")
    assert {run.head_sha for run in runs} == {REVISION}
    ours = checks(pipeline(site.url), REVISION, TOKEN)
    theirs = [run.conclusion or run.status for run in runs] + [status.state for status in combined.statuses]
    assert [check.detail for check in ours] == theirs
