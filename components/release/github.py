"""What GitHub knows of a revision: its check runs, and the commit statuses of services that make none.

By httpx and not by a client of GitHub's whole API, of which these are two requests.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from components.release.pipeline import CheckRun, State
from components.release.spec import Pipeline

ACCEPT = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
PER_PAGE = 100  # the most that GitHub gives
MOST_PAGES = 20
TRIES = 3
PAUSE = 1.0  # seconds before a second try, and twice that before a third
TIMEOUT = 10.0
# A required check with these does not hold up a merge on GitHub either (GitHub: Status checks).
GREEN = ("success", "neutral", "skipped")
STATES: Mapping[str, State] = {
    "success": "green",
    "pending": "running",
    "failure": "red",
    "error": "red",
}
FULL_REVISION = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


class GitHubError(Exception):
    """GitHub does not say how the revision stands. One line with the remedy."""


class _Run(BaseModel):
    name: str
    status: str
    conclusion: str | None


class _Runs(BaseModel):
    """GitHub REST: List check runs for a Git reference."""

    total_count: int
    check_runs: list[_Run]


class _Status(BaseModel):
    context: str
    state: Literal["success", "pending", "failure", "error"]


class _Statuses(BaseModel):
    """GitHub REST: Get the combined status for a specific reference. The newest one of each context."""

    total_count: int
    statuses: list[_Status]


Page = TypeVar("Page", _Runs, _Statuses)


def checks(pipeline: Pipeline, revision: str, token: str) -> list[CheckRun]:
    """Every check of the revision, check runs first. Raises `GitHubError`."""
    if not FULL_REVISION.fullmatch(revision):  # GitHub would take another name for that of a branch
        raise GitHubError(
            f"the artefact's revision is {revision!r}, which is no whole commit; build it again"
        )
    client = httpx.Client(
        base_url=f"{pipeline.api.rstrip('/')}/repos/{pipeline.github}/commits/{revision}/",
        headers={**ACCEPT, "Authorization": f"Bearer {token}"},
        params={"per_page": PER_PAGE},
        timeout=TIMEOUT,
    )
    with client:
        runs = _all(client, pipeline, "check-runs", _Runs, lambda page: len(page.check_runs))
        statuses = _all(client, pipeline, "status", _Statuses, lambda page: len(page.statuses))
    return [
        *(_of_run(run) for page in runs for run in page.check_runs),
        *(_of_status(status) for page in statuses for status in page.statuses),
    ]


def _of_run(run: _Run) -> CheckRun:
    if run.status != "completed":
        return CheckRun(name=run.name, state="running", detail=run.status)
    state = "green" if run.conclusion in GREEN else "red"
    return CheckRun(name=run.name, state=state, detail=run.conclusion or "without conclusion")


def _of_status(status: _Status) -> CheckRun:
    return CheckRun(name=status.context, state=STATES[status.state], detail=status.state)


def _all(
    client: httpx.Client, pipeline: Pipeline, what: str, kind: type[Page], count: Callable[[Page], int]
) -> list[Page]:
    """The pages. A check that is not told could be the red one, so fewer than announced are refused."""
    pages: list[Page] = []
    for number in range(1, MOST_PAGES + 1):
        answer = _get(client, pipeline, what, number)
        try:
            page = kind.model_validate_json(answer.content)
        except ValidationError:
            raise GitHubError(
                f"{pipeline.api} does not answer as GitHub does ({what}); correct relevo:pipeline.api"
            ) from None
        pages.append(page)
        if sum(map(count, pages)) >= page.total_count:
            return pages
        if not count(page):
            break
    raise GitHubError(
        f"GitHub names only {sum(map(count, pages))} of {pages[-1].total_count} ({what}); run pulumi up again"
    )


def _get(client: httpx.Client, pipeline: Pipeline, what: str, page: int) -> httpx.Response:
    fault = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE * attempt)
        try:
            answer = client.get(what, params={"page": page})
        except httpx.HTTPError as error:
            fault = f"does not answer ({type(error).__name__})"
            continue
        if answer.status_code == 200:
            return answer
        if answer.status_code < 500:
            raise GitHubError(_refused(answer, pipeline))
        fault = f"answers {answer.status_code}"
    raise GitHubError(
        f"{pipeline.api} {fault}, {TRIES} times; run pulumi up again when GitHub works (githubstatus.com)"
    )


def _refused(answer: httpx.Response, pipeline: Pipeline) -> str:
    """What GitHub's status means here. Never what it says, which is of no one's control."""
    status, token, repository = answer.status_code, pipeline.token, pipeline.github
    if status == 429 or (status == 403 and _is_limit(answer)):
        return f"GitHub's rate limit for {token} is used up{_until(answer)}; run pulumi up then"
    if status == 401:
        return f"GitHub does not accept the token in {token} (401); give it a valid one"
    if status == 403:
        return (
            f"the token in {token} may not read the checks of {repository} (403); "
            f"give it read access to checks and commit statuses"
        )
    if status == 404:
        return f"GitHub has no {repository}, or not for {token} (404); correct relevo:pipeline, or the token"
    if status == 422:
        return f"GitHub does not know the revision in {repository} (422); push it"
    if answer.is_redirect:
        return f"{repository} has another name now ({status}); correct relevo:pipeline.github"
    return f"GitHub answers {status} for {repository}; correct relevo:pipeline"


def _is_limit(answer: httpx.Response) -> bool:
    """GitHub REST: Rate limits for the REST API. A secondary limit need not have either header."""
    return (
        answer.headers.get("x-ratelimit-remaining") == "0"
        or "retry-after" in answer.headers
        or b"rate limit" in answer.content.lower()
    )


def _until(answer: httpx.Response) -> str:
    """When there may be another try, as far as GitHub says."""
    after, reset = answer.headers.get("retry-after", ""), answer.headers.get("x-ratelimit-reset", "")
    if after.isdecimal():
        return f" for {after} s"
    if reset.isdecimal() and answer.headers.get("x-ratelimit-remaining") == "0":
        return f" until {datetime.fromtimestamp(int(reset), UTC):%H:%M:%S} UTC"
    return ""
