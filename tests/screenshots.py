"""The pictures of the README, from a stack of their own: good releases, a failed one, and the way back.

    python -m tests.screenshots

takes some minutes. It writes docs/images, and leaves nothing else.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from components.local.layout import Layout
from components.local.vault import Vault
from tests.browser import browser
from tests.e2e.project import Project, committed_configuration
from tests.e2e.releases import Digests, build_repository

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WATCH = {"minutes": 0.75, "everySeconds": 3}
PAUSE = 0.05  # seconds between two requests of the visitor


def play(project: Project, digests: Digests) -> None:
    """v1, v2 watched under load, one that fails in smoke, and the rollback."""
    for tag in ("v1", "v2"):
        project.release(digests[tag])
    visit(project)
    project.release(digests["broken-smoke"], status=None)
    project.run("relevo", "rollback", "--stack", project.stack, "--yes")


def visit(project: Project) -> None:
    """Until the watch has its verdict."""
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=project.url, trust_env=False) as client:
            while not over.wait(PAUSE):
                client.get("/api/docs/")

    visitor = threading.Thread(target=ask)
    visitor.start()
    try:
        deadline = time.monotonic() + 180
        while not any(entry["event"] == "watch done" for entry in project.record()[-3:]):
            assert time.monotonic() < deadline, "the watch does not end"
            time.sleep(0.5)
    finally:
        over.set()
        visitor.join()


def take(project: Project) -> None:
    password = Vault(Layout(project.state).secrets).read("LOGBOOK_PASSWORD")
    with browser() as chromium:
        context = chromium.new_context(
            viewport={"width": 860, "height": 700},
            http_credentials={"username": "relevo", "password": password},
        )
        page = context.new_page()
        page.goto(f"{project.url}/.relevo/logbook/en/index.html")
        page.screenshot(path=IMAGES / "logbook.png", full_page=True)
        page.locator("ol.log").get_by_role("link", name="v2", exact=True).last.click()
        page.screenshot(path=IMAGES / "logbook-release.png")


def main() -> int:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="relevo-screenshots-") as name:
        folder = Path(name)
        (folder / "repository").mkdir()
        repository = build_repository(folder / "repository")
        project = Project(folder / "shop")
        try:
            project.configure({**committed_configuration(), "watch": WATCH, "responsible": "Ada Lovelace"})
            project.init()
            play(project, Digests(project, repository))
            take(project)
        finally:
            project.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
