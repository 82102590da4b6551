"""Who asks Azure, from a job of GitHub."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from azure.core.exceptions import ClientAuthenticationError

from components.azure import login
from tests.azure.arm_stand_in import TENANT, ArmStandIn


class GitHubStandIn(BaseHTTPRequestHandler):
    """Gives another token each time, to who shows the job's own for Azure's audience."""

    given = 0

    def do_GET(self) -> None:
        asked = (self.path, self.headers["Authorization"])
        known = ("/token?api-version=2.0&audience=api://AzureADTokenExchange", "Bearer of-the-job")
        GitHubStandIn.given += 1
        body = json.dumps({"value": f"assertion-{GitHubStandIn.given}"}).encode()
        self.send_response(200 if asked == known else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def job(azure: ArmStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of a job that has the permission id-token."""
    GitHubStandIn.given = 0
    server = HTTPServer(("127.0.0.1", 0), GitHubStandIn)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv(login.GITHUB_URL, f"http://127.0.0.1:{server.server_port}/token?api-version=2.0")
    monkeypatch.setenv(login.GITHUB_TOKEN, "of-the-job")
    monkeypatch.setenv("ARM_TENANT_ID", TENANT)
    monkeypatch.setenv("ARM_CLIENT_ID", "app-of-the-environment")
    login.credential.cache_clear()
    yield
    login.credential.cache_clear()
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("job")
def test_each_token_of_azure_is_had_by_a_new_one_of_github(azure: ArmStandIn) -> None:
    """GitHub's is good for five minutes; a release asks for other scopes, and asks again, hours later."""
    for scope in ("https://management.azure.com/.default", "https://vault.azure.net/.default"):
        assert login.credential().get_token(scope).token
    assert azure.assertions == ["assertion-1", "assertion-2"]


@pytest.mark.usefixtures("job")
def test_a_job_without_a_token_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(login.GITHUB_TOKEN, "of another job")
    with pytest.raises(ClientAuthenticationError, match="GitHub gives this job no token"):
        login.credential().get_token("https://management.azure.com/.default")
