"""A GitHub of Python's own HTTP server, with the two answers that preflight asks for, in GitHub's own shapes.

After the schemas of GitHub REST "List check runs for a Git reference" and "Get the combined status for a
specific reference" (github/rest-api-description). test_github.py has PyGithub read them as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.unit.release.stand_in import Answer, Asked, StandInSite, serving

REPOSITORY = "octo/loans"
REVISION = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "ghs_16C7e42F292c6912E7710c838347Ae178B4a"
AT = "2026-11-24T12:00:00Z"


@dataclass
class StandInGitHub:
    """`runs` are (name, status, conclusion), `statuses` (context, state); `instead` is answered first."""

    runs: list[tuple[str, str, str | None]] = field(default_factory=list)
    statuses: list[tuple[str, str]] = field(default_factory=list)
    instead: list[Answer] = field(default_factory=list)
    unnamed: int = 0  # check runs that are counted, but in no answer
    url: str = ""

    def answer(self, request: Asked) -> Answer:
        if self.instead:
            return self.instead.pop(0)
        if request.headers.get("Authorization") not in (f"Bearer {TOKEN}", f"token {TOKEN}"):
            return refusal(401, "Bad credentials")
        address = urlsplit(request.path)
        commit = f"/repos/{REPOSITORY}/commits/{REVISION}"
        if not address.path.startswith("/repos/" + REPOSITORY):
            return refusal(404, "Not Found")
        query = parse_qs(address.query)
        size, page = int(query.get("per_page", ["30"])[0]), int(query.get("page", ["1"])[0])
        part = slice((page - 1) * size, page * size)
        if address.path == f"{commit}/check-runs":
            runs = [self.run(number, *run) for number, run in enumerate(self.runs)]
            total = len(runs) + self.unnamed
            return self.page(request, page, size, total, {"total_count": total, "check_runs": runs[part]})
        if address.path == f"{commit}/status":
            statuses = [self.status(number, *status) for number, status in enumerate(self.statuses)]
            return self.page(request, page, size, len(statuses), self.combined(statuses[part], len(statuses)))
        return refusal(422, f"No commit found for SHA: {address.path.split('/')[5]}")

    def page(self, request: Asked, page: int, size: int, total: int, body: Any) -> Answer:
        headers = {"Content-Type": "application/json; charset=utf-8", "X-RateLimit-Remaining": "4999"}
        if page * size < total:
            path = urlsplit(request.path).path
            headers["Link"] = f'<{self.url}{path}?per_page={size}&page={page + 1}>; rel="next"'
        return Answer(body=body, headers=headers)

    def run(self, number: int, name: str, status: str, conclusion: str | None) -> dict[str, Any]:
        api = f"{self.url}/repos/{REPOSITORY}"
        return {
            "id": number,
            "head_sha": REVISION,
            "node_id": "MDg6Q2hlY2tSdW40",
            "external_id": "",
            "url": f"{api}/check-runs/{number}",
            "html_url": f"https://github.com/{REPOSITORY}/runs/{number}",
            "details_url": f"https://github.com/{REPOSITORY}/actions/runs/1/job/{number}",
            "status": status,
            "conclusion": conclusion,
            "started_at": AT,
            "completed_at": AT if status == "completed" else None,
            "output": {
                "title": None,
                "summary": None,
                "text": None,
                "annotations_count": 0,
                "annotations_url": f"{api}/check-runs/{number}/annotations",
            },
            "name": name,
            "check_suite": {"id": 5},
            "app": None,
            "pull_requests": [],
        }

    def status(self, number: int, context: str, state: str) -> dict[str, Any]:
        return {
            "url": f"{self.url}/repos/{REPOSITORY}/statuses/{REVISION}",
            "avatar_url": None,
            "id": number,
            "node_id": "MDY6U3RhdHVzMQ==",
            "state": state,
            "description": None,
            "target_url": None,
            "context": context,
            "created_at": AT,
            "updated_at": AT,
        }

    def combined(self, statuses: Sequence[dict[str, Any]], total: int) -> dict[str, Any]:
        states = {state for _, state in self.statuses}
        state = (
            "failure" if states & {"failure", "error"} else "success" if states == {"success"} else "pending"
        )
        return {
            "state": state,
            "statuses": statuses,
            "sha": REVISION,
            "total_count": total,
            "repository": {"id": 1, "name": "loans", "full_name": REPOSITORY},
            "commit_url": f"{self.url}/repos/{REPOSITORY}/commits/{REVISION}",
            "url": f"{self.url}/repos/{REPOSITORY}/commits/{REVISION}/status",
        }


def refusal(status: int, message: str, **headers: str) -> Answer:
    """GitHub's "Basic Error"."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(
        status=status,
        body={"message": message, "documentation_url": "", "status": str(status)},
        headers=named,
    )


@contextmanager
def github(**state: Any) -> Iterator[tuple[StandInGitHub, StandInSite]]:
    """On a free port of the loopback, with the requests that it got."""
    made = StandInGitHub(**state)
    with serving(made.answer) as site:
        made.url = site.url
        yield made, site
