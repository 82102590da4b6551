"""The logbook's pages as people have them: in a browser, on a phone, behind the balancer's password."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, Page

from components.local import control, page_server
from components.local.balancer import Balancer, EdgeSettings, Probe
from components.local.haproxy import HAProxy
from components.local.layout import Layout
from components.local.nginx import Nginx
from components.local.page_server import Access
from components.local.supervisor import Supervisor
from components.local.vault import Vault
from components.release import account
from components.release.pages import rendering
from tests.browser import browser
from tests.e2e.servers import free_port
from tests.unit.release.logbooks import full, long
from tests.unit.release.test_pages import HOSTILE

PHONE = {"width": 360, "height": 740}
SCHEMES = {"dark": "rgb(20, 23, 26)", "light": "rgb(255, 255, 255)"}
ACCESS = Access(path="/.relevo/logbook/", user="relevo", secret="LOGBOOK_PASSWORD")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of a record in which a release was given to have failed by something hostile."""
    folder = tmp_path_factory.mktemp("pages")
    for path, page in rendering.pages(account.of(full(error="".join(HOSTILE)).written)).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(page)
    return folder


def opened(chromium: Browser, complaints: list[str], **options: object) -> Page:
    """A page whose messages, errors and requests that go elsewhere are complaints."""
    page = chromium.new_context(**options).new_page()  # type: ignore[arg-type]
    page.on("console", lambda message: complaints.append(f"{page.url}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    page.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
    return page


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_link_leads_on_and_every_page_fits_a_phone_in_both_schemes(
    chromium: Browser, folder: Path, scheme: str
) -> None:
    complaints: list[str] = []
    page = opened(chromium, complaints, viewport=PHONE, color_scheme=scheme)
    page.goto((folder / "index.html").as_uri())
    page.wait_for_url("**/es/index.html")  # the stack's language
    pending, seen = {page.url}, set()
    while pending:
        page.goto(url := pending.pop())
        seen.add(url)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], url
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == SCHEMES[scheme], url
        for details in page.locator("summary").all():
            details.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], url
        links = page.evaluate("[...document.links].map(link => link.href)")
        pending |= set(links) - seen
    pages = {path.as_uri() for path in folder.glob("*/*.html")}
    assert seen == pages
    assert complaints == []
    page.context.close()


def test_a_reader_finds_the_failed_release_its_bars_and_its_request(chromium: Browser, folder: Path) -> None:
    complaints: list[str] = []
    page = opened(chromium, complaints, viewport={"width": 1200, "height": 900})
    page.goto((folder / "en" / "index.html").as_uri())
    page.get_by_role("link", name="v3", exact=True).click()
    assert page.get_by_role("img").count() == 10  # steps
    assert page.locator("#smoke").get_by_role("row").filter(has_text="500").is_visible()
    assert page.locator("script, img, iframe").count() == 0
    page.get_by_role("link", name="Español").click()
    assert page.locator("h1").inner_text().startswith("v3")
    assert page.locator("html").get_attribute("lang") == "es"
    page.get_by_role("link", name="todos los despliegues").click()
    assert page.get_by_text("relevo rollback --stack prod").is_visible()
    assert complaints == []
    page.context.close()


def test_500_releases_are_there_at_once(chromium: Browser, folder: Path, tmp_path: Path) -> None:
    """Against a page of five releases: the same browser, at the same moment."""
    written = long(500)
    many = tmp_path / "many.html"
    many.write_bytes(rendering.pages(account.of(written), of=())["en/index.html"])
    complaints: list[str] = []
    page = opened(chromium, complaints, viewport=PHONE)

    def shown(file: Path) -> float:
        began = time.monotonic()
        page.goto(file.as_uri())
        page.screenshot()
        return time.monotonic() - began

    shown(folder / "en" / "index.html")
    few = shown(folder / "en" / "index.html")
    took = min(shown(many), shown(many))
    assert page.locator("ol.log > li").count() == 500
    assert took < 1 + 10 * few
    assert complaints == []
    page.context.close()


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Layout]:
    """A stack's supervisor with the page server, and no application."""
    layout = Layout(tmp_path_factory.mktemp("state with space"))
    layout.make()
    control.ensure(layout)
    try:
        Vault(layout.secrets).write(ACCESS.secret, "first, pässword")
        shutil.copytree(folder, layout.pages)
        page_server.ensure(layout, Supervisor(layout), ACCESS)
        yield layout
    finally:
        Supervisor(layout).shutdown()


@pytest.mark.parametrize("kind", [HAProxy, Nginx])
def test_the_pages_are_served_to_who_has_the_password_and_to_nobody_else(
    layout: Layout, chromium: Browser, kind: type[HAProxy | Nginx]
) -> None:
    supervisor = Supervisor(layout)
    vault = Vault(layout.secrets)
    vault.write(ACCESS.secret, "first, pässword")
    page_server.ensure(layout, supervisor, ACCESS)
    balancer: Balancer = kind(layout, supervisor)
    settings = EdgeSettings(
        port=free_port(), stats_port=free_port(), instances={"instance-1": free_port()}, probe=Probe()
    )
    balancer.ensure(settings)
    site = f"http://127.0.0.1:{settings.port}"
    with httpx.Client(base_url=site, trust_env=False) as client:
        assert (
            client.get(ACCESS.path).status_code == 503
        )  # not asked for: the application's, which is not there
        balancer.ensure(
            EdgeSettings(**{**vars(settings), "logbook": ACCESS.path})
        )  # an idle connection may go on with the configuration of before
    with httpx.Client(base_url=site, trust_env=False) as client:
        assert client.get(ACCESS.path.rstrip("/")).headers["Location"].endswith(ACCESS.path)
        assert client.get(ACCESS.path).status_code == 401
        wrong = ("relevo", b"second")
        assert client.get(f"{ACCESS.path}es/index.html", auth=wrong).status_code == 401
        right = ("relevo", "first, pässword".encode())
        answer = client.get(f"{ACCESS.path}es/", auth=right)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert client.post(ACCESS.path, auth=right).status_code == 403
        assert client.get(f"{ACCESS.path}%2e%2e/releases.jsonl", auth=right).status_code in (404, 503)
        # A new password needs nothing of the balancer.
        vault.write(ACCESS.secret, "second")
        page_server.ensure(layout, supervisor, ACCESS)
        assert client.get(ACCESS.path, auth=wrong).status_code == 200
        assert client.get(ACCESS.path, auth=right).status_code == 401
    complaints: list[str] = []
    page = opened(chromium, complaints, http_credentials={"username": "relevo", "password": "second"})
    page.goto(f"{site}{ACCESS.path}")
    page.wait_for_url(f"{site}{ACCESS.path}es/index.html")
    page.get_by_role("link", name="v2", exact=True).first.click()
    assert page.locator("#watch svg").count() == 3
    assert complaints == []
    page.context.close()
    supervisor.remove("edge")


def test_a_killed_page_server_is_back_at_once(layout: Layout) -> None:
    supervisor = Supervisor(layout)
    (killed, *_) = supervisor.processes(page_server.PROGRAM)
    killed.send_signal(9)
    deadline = time.monotonic() + 10

    def back() -> bool:
        status = supervisor.status(page_server.PROGRAM)
        return status is not None and status.pid not in (None, killed.pid) and page_server.answers(layout)

    while not back():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    names = {process.pid for process in supervisor.marked(page_server.PROGRAM)}
    while names != {process.pid for process in supervisor.processes(page_server.PROGRAM)}:
        assert time.monotonic() < deadline, [psutil.Process(pid).name() for pid in names]
        names = {process.pid for process in supervisor.marked(page_server.PROGRAM)}


def test_only_its_user_reads_the_password_and_it_is_in_no_command_line(layout: Layout) -> None:
    file = layout.page_server / page_server.PASSWORDS
    assert file.stat().st_mode & 0o077 == 0
    password = Vault(layout.secrets).read(ACCESS.secret)
    assert password not in file.read_text()
    for process in Supervisor(layout).processes(page_server.PROGRAM):
        assert password not in " ".join(process.cmdline())
