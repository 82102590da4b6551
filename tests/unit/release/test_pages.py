"""The logbook's pages: every fact of the record is on them, as text, and they follow what is written."""

from __future__ import annotations

import dataclasses
import html
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from components.release import account, logbook
from components.release.pages import rendering
from components.release.pages.words import WORDS
from components.target import TargetError
from tests.unit.release.logbooks import Book, full, long
from tests.unit.release.stand_in import StandInOperations

HOSTILE = (
    "<script>document.title='broken in'</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title><b>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "half a pair \ud800 and \u202e backwards",
)
ATTRIBUTES = {
    *(
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "rel",
        "href",
        "hreflang",
        "id",
        "class",
        "datetime",
    ),
    *(
        "open",
        "scope",
        "colspan",
        "viewbox",
        "preserveaspectratio",
        "role",
        "data-label",
        "x",
        "y",
        "width",
        "height",
        "points",
    ),
}


class Elements(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def drawn(book: Book) -> dict[str, str]:
    return {path: page.decode() for path, page in rendering.pages(account.of(book.written)).items()}


def said(page: str) -> str:
    """The text that a reader sees, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.partition("</style>")[2])).split())


@pytest.fixture
def pages() -> dict[str, str]:
    return drawn(full())


def page_of(pages: dict[str, str], version: str, language: str = "en") -> str:
    (found,) = [text for path, text in pages.items() if path.startswith(f"{language}/") and version in path]
    return said(found)


def test_the_index_says_what_serves_how_to_go_back_and_whether_the_record_is_whole(pages) -> None:
    index, book = said(pages["en/index.html"]), full()
    assert "Logbook of prod" in index
    assert re.search(r"v1 · instance-1 · since release \S+-v1 app@sha256:\w{64}", index)
    assert "relevo rollback --stack prod" in index
    chain = account.of(book.written).chain
    assert f"{chain.entries} entries, each with the hash of the one before it" in index
    assert f"relevo logbook verify --stack prod --head {chain.head}" in index


def test_the_index_lists_releases_and_what_was_done_between_them_the_newest_first(pages) -> None:
    index = said(pages["en/index.html"])
    rows = (
        r"14:\d\d:\d\d UTC v1 rollback · Ada · replaces v2 succeeded",
        r"drill done · 20261124T140000Z-v1 · 2,?\.?5 s",
        r"restore done Grace · 20261124T140000Z-v1 · 12 s",
        r"attempt refused Grace rollback: v2 cannot go back past v1; run relevo restore\.",
        r"v3 Ada · replaces v2 failed smoke: assign a loan: status is 500, but 201 is expected",
        r"v2 Ada · replaces v1 succeeded watch: breached · review: not stable",
        r"v1 Ada · replaces v0 succeeded watch: quiet · review: stable",
    )
    places = [re.search(row, index) for row in rows]
    assert None not in places, [row for row, place in zip(rows, places, strict=True) if place is None]
    assert [place.start() for place in places if place] == sorted(p.start() for p in places if p)


@pytest.mark.parametrize(
    "fact",
    [
        "release 20261124T140",
        "by Ada",
        "git Ada <ada@example.org>",
        "4f0c" * 16,
        "sha256:" + "1" * 64,
        "verified by a restore , 11233 bytes, 13 tables, 812 rows, 4 media files",
        "applied loans.0002_due loans.0003_late",
        "reversed audit.0009_extra",
        "assign a loan 200 13 ms as expected",
        "instance-2 · by roll-instance-2 · 1",
        "import: ran · assets differs from v1",
        "watch: breached",
        "It rose.",
        "first breach: 5xx responses 4.8 %, before 0.1 %",
        "latency 93 ms 90 ms quiet",
        "ValueError in loans/views.py 3 0",
        "loans weeks before: 98, 104 70 101.5 (90\N{EN DASH}112) 99 -31 % not stable",
        "late by 1 min 30 s",
    ],
)
def test_a_releases_page_has_every_fact_of_it(pages, fact: str) -> None:
    assert fact in page_of(pages, "v2")


def test_a_failed_step_shows_its_error_and_the_request_that_went_wrong(pages) -> None:
    page = page_of(pages, "v3")
    assert "Error smoke: assign a loan: status is 500, but 201 is expected" in page
    assert "assign a loan 500 31 ms assign a loan: status is 500, but 201 is expected" in page
    assert "log in 200 12 ms as expected" in page


def test_each_step_has_a_bar_whose_text_says_when_it_began_and_how_long_it_took(pages) -> None:
    (page,) = [text for path, text in pages.items() if path.startswith("en/") and "v3" in path]
    bars = re.findall(r"<title>(\S+) begins after \S+ (?:min \d+ )?s and takes (\S+ s): (\w+)</title>", page)
    assert bars[1] == ("preflight", "1.2 s", "done")
    assert bars[-1] == ("smoke", "2.0 s", "failed")
    assert page.count('class="bad"/>') == 1
    places = [float(x) for x in re.findall(r'<rect x="([\d.]+)"', page)]
    assert places == sorted(places)
    assert 0 < places[-1] < 1000


def test_the_watchs_curves_stay_inside_their_picture(pages) -> None:
    (page,) = [text for path, text in pages.items() if path.startswith("en/") and "v2" in path]
    lines = re.findall(r'<polyline points="([^"]+)"', page)
    assert len(lines) == 4  # requests, 4xx, 5xx, latency
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line.split()]
        assert all(0 <= x <= 1000 and 0 <= y <= 100 for x, y in points)
        assert (points[0][1], points[-1][0]) != (None, 0)
    # 4xx up to 1 and 5xx up to 2 are on one scale
    lowest = [min(float(point.split(",")[1]) for point in line.split()) for line in lines]
    assert lowest == [0, 50, 0, 0]
    assert "requests over 59 min 30 s, at most 16" in page


def test_what_another_version_of_relevo_adds_to_a_curve_or_leaves_out_stops_no_page() -> None:
    book = Book()
    release = book.succeed("v1")
    found = {
        "verdict": "quiet",
        "curve": [[0, 10, 0, 0, 90, "more"], [30, 12, 0], [60, 14, 1, 0, 91]],
        "measures": {"latency": None, "errors-5xx": {"found": "0 %", "before": "0 %", "breached": False}},
        "exceptions": [None],
    }
    book.write("watch done", release[0], image=release[1], data=found)
    book.write("review done", release[0], image=release[1], data={"volumes": {"loans": None}})
    page = page_of(drawn(book), "v1")
    assert "requests over 1 min 0 s, at most 14" in page
    assert "5xx responses 0 % 0 % quiet" in page


@pytest.mark.parametrize(
    ("value", "english", "spanish"),
    [
        (None, "\N{EN DASH}", "\N{EN DASH}"),
        (0, "0", "0"),
        (1250000, "1250000", "1250000"),
        (101.5, "101.5", "101,5"),
    ],
)
def test_a_number_is_written_out(value: float | None, english: str, spanish: str) -> None:
    assert (rendering.number("en", value), rendering.number("es", value)) == (english, spanish)


def test_each_page_is_in_both_languages_and_leads_to_the_other(pages) -> None:
    english = {path.removeprefix("en/") for path in pages if path.startswith("en/")}
    assert english == {path.removeprefix("es/") for path in pages if path.startswith("es/")}
    assert len(english) == 6
    for name in english:
        assert f'<a href="../es/{name}"' in pages[f"en/{name}"]
        assert f'<a href="../en/{name}"' in pages[f"es/{name}"]
    spanish = page_of(pages, "v2", "es")
    assert "verificada con una restauración" in spanish
    assert "1,2 s" in spanish
    assert 'content="0; url=es/index.html"' in pages["index.html"]  # the stack's language


def test_every_link_is_relative_and_leads_to_a_page(pages) -> None:
    for path, text in pages.items():
        folder = path.rpartition("/")[0]
        for link in Elements(text.encode()).links:
            if link == "data:,":
                continue
            assert not link.startswith(("/", "http"))
            target = link.removeprefix("../") if link.startswith("../") else f"{folder}/{link}".lstrip("/")
            assert target in pages, f"{link} of {path}"


def test_the_languages_have_the_same_words() -> None:
    assert WORDS["en"].keys() == WORDS["es"].keys()
    for key in WORDS["en"]:
        assert set(re.findall(r"{\w+}", WORDS["en"][key])) == set(re.findall(r"{\w+}", WORDS["es"][key])), key


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_stands_in_the_record_is_text(text: str) -> None:
    """A responsible's git name, a request's name, an error: anybody may have written them."""
    book = Book()
    release = book.open(text, id=f"../../{text}/x", image=text, responsible=text, identity={text: text})
    book.step(release, text, {"requests": [{"name": text, "status": 200, "milliseconds": 1, "fault": text}]})
    book.step(release, "migrate", {"applied": [text]})
    book.step(release, "backup", {"name": text})
    book.step(release, "smoke", {"checks": [{"name": text, "run": False, "why": text}]})
    book.write("release succeeded", release[0], image=text)
    book.watch(release, verdict=text, why=text)
    book.review(release, verdict=text)
    failed = book.fail(text, text, stack=text)
    book.step(failed, "roll-instance-1")
    book.refuse(text)
    plain = Elements(b"".join(drawn_bytes(full())))
    for path, page in rendering.pages(account.of(book.written)).items():
        assert re.fullmatch(r"((en|es)/)?[\w.-]+\.html", path)
        found = Elements(page)
        assert found.tags <= plain.tags
        assert found.attributes <= ATTRIBUTES
        assert all(re.fullmatch(r"(\.\./)?((en|es)/)?[\w.-]+\.html|data:,", link) for link in found.links)
        visible = text.encode("utf-8", "backslashreplace").decode()
        if path.startswith("en/"):
            assert " ".join(visible.split()) in said(page.decode())


def drawn_bytes(book: Book) -> list[bytes]:
    return list(rendering.pages(account.of(book.written)).values())


def test_a_policy_forbids_scripts_and_requests_and_knows_the_one_style(pages) -> None:
    for page in pages.values():
        (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', html.unescape(page))
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        assert "<script" not in page
        assert not re.search(r"\sstyle=", page)


def test_an_empty_record_has_a_page_too() -> None:
    pages = {path: said(page.decode()) for path, page in rendering.pages(account.of(b"", stack="qa")).items()}
    assert set(pages) == {"index.html", "en/index.html", "es/index.html"}
    assert "Nothing is recorded yet." in pages["en/index.html"]
    assert "There is no version to go back to." in pages["en/index.html"]


def test_a_changed_past_is_said_on_the_index() -> None:
    pages = rendering.pages(account.of(full().written.replace(b"Ada", b"Bob", 1)))
    index = said(pages["en/index.html"].decode())
    assert "NOT as it was written" in index
    assert "line 2: it was written after the line" in index


def test_a_killed_restore_is_said_before_the_way_back() -> None:
    book = full()
    book.write("restore started", data={"backup": "b1"})
    index = said(rendering.pages(account.of(book.written))["en/index.html"].decode())
    assert "the restore of backup b1" in index
    assert index.index("the restore of backup b1") < index.index("relevo rollback --stack prod")


def test_a_review_that_a_newer_release_came_before_is_left_to_that_ones() -> None:
    """Nobody waits for one that was due long ago and will never be done; a look before its time stays."""
    book = Book()
    older = [book.succeed("v1"), book.succeed("v2")]
    book.review(older[1], early=True)
    reviewed = book.succeed("v3")
    book.review(reviewed)
    book.fail("v4", "it does not start")
    told = account.of(book.written)
    lefts = [one.review.left_to if one.review else None for one in told.releases]
    assert lefts == [older[1][0], reviewed[0], None, None]
    pages = {path: said(page.decode()) for path, page in rendering.pages(told).items()}
    assert "review: left to that of the newer release" in pages[f"en/{older[0][0]}.html"]
    assert "revisión: queda para la de la versión más reciente" in pages[f"es/{older[0][0]}.html"]
    assert "review: not stable (so far)" in pages[f"en/{older[1][0]}.html"]
    assert "left to that of the newer release" in pages[f"en/{older[1][0]}.html"]
    for page in (pages["en/index.html"], *(pages[f"en/{id}.html"] for id, _ in older)):
        assert "due 2026" not in page


def test_a_release_that_succeeds_draws_the_page_of_the_one_whose_review_is_left_to_it(
    operations: StandInOperations,
) -> None:
    book = Book()
    (older, _), (newer, _) = book.succeed("v1"), book.succeed("v2")
    changed = play(operations, book)
    assert (
        sum({f"en/{older}.html", f"en/{newer}.html"} <= pages for pages in changed) == 2
    )  # opened, succeeded
    assert "left to that of the newer release" in said(operations.pages[f"en/{older}.html"].decode())


def test_every_field_for_machines_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "logbook.md").read_text()
    shapes = (account.Account, account.ReleaseTold, account.Beside, account.ChainTold, account.Try)
    shapes = (*shapes, account.Request, account.Asked, account.Check, account.BackupTaken, account.WatchTold)
    names = {field.name for shape in (*shapes, account.ReviewTold) for field in dataclasses.fields(shape)}
    assert {name for name in names if f"`{name}`" not in page} == set()


# -- following the record ------------------------------------------------------------------------------
def play(operations: StandInOperations, book: Book) -> list[set[str]]:
    """Write what is in the book as Relevo does; for each entry, the pages that it changed."""
    from components.release import record

    changed = []
    for entry in record.parse(book.written):
        before = dict(operations.pages)
        operations.pages.clear()
        logbook.write(
            operations,
            entry.event,  # type: ignore[arg-type]
            release=entry.release,
            image=entry.image,
            step=entry.step,
            seconds=entry.seconds,
            error=entry.error,
            data=entry.data,
        )
        changed.append(set(operations.pages))
        operations.pages = {**before, **operations.pages}
    return changed


def test_the_published_pages_are_those_of_the_whole_record(operations: StandInOperations) -> None:
    play(operations, full())
    assert operations.pages == rendering.pages(account.of(operations.read_record()))


def test_the_next_release_writes_what_is_missing(operations: StandInOperations) -> None:
    """An older Relevo wrote no pages, and those of a release that ended on a full disk are of before."""
    book = full()
    play(operations, book)
    operations.pages.clear()
    following = Book(now=book.now)
    following.open("v9")
    play(operations, following)
    assert operations.pages == rendering.pages(account.of(operations.read_record()))


def test_the_index_is_that_of_the_last_of_several_writers(
    operations: StandInOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step ends while a watch begins: each draws what it has read, and either may be the later one."""
    play(operations, full())
    publish, others = operations.publish, ["by another", "by a third"]

    def overtaken(pages: dict[str, bytes]) -> None:
        if others:
            logbook.write(operations, "attempt refused", error=others.pop())
        publish(pages)

    monkeypatch.setattr(operations, "publish", overtaken)
    logbook.write(operations, "drill done")
    assert operations.pages == rendering.pages(account.of(operations.read_record()))


def test_a_step_of_an_open_release_draws_its_page_alone(operations: StandInOperations) -> None:
    book = Book()
    id, _ = book.succeed("v1")
    changed = play(operations, book)
    own = {f"en/{id}.html", f"es/{id}.html"}
    index = {"index.html", "en/index.html", "es/index.html"}
    assert changed[0] == own | index
    assert changed[1:3] == [own, own]
    # the two rolls, the success, and the two entries of close-record
    assert sum(pages == own | index for pages in changed) == 1 + 2 + 1 + 2


def test_pages_that_cannot_be_published_stop_nothing_and_are_said_at_the_ends_of_a_release(
    operations: StandInOperations, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_: object) -> None:
        raise TargetError("the disk is full")

    monkeypatch.setattr(operations, "publish", full_disk)
    book = Book()
    book.succeed("v1")
    play(operations, book)
    assert operations.read_record().count(b"\n") == book.written.count(b"\n")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2  # opened, succeeded
    assert "the disk is full" in lines[0]
    assert "relevo logbook --html" in lines[0]


def test_a_cancelled_step_is_not_kept_by_its_drawing(
    operations: StandInOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.release.running import Interrupted

    def cancelled(_: object) -> None:
        raise Interrupted("cancelled by SIGTERM")

    monkeypatch.setattr(operations, "publish", cancelled)
    with pytest.raises(Interrupted):
        logbook.write(operations, "attempt refused", error="no")


def test_500_releases_cost_little() -> None:
    """The limits are five times what they took on two cores that others used, too."""
    written = long(500)
    began = time.process_time()
    told = account.of(written)
    pages = rendering.pages(told, of=[told.releases[-1].id])
    assert time.process_time() - began < 5
    assert len(pages) == 5
    assert max(map(len, pages.values())) < 600_000
    began = time.process_time()
    rendering.release_pages(told.releases[-1], "prod")
    assert time.process_time() - began < 0.25
