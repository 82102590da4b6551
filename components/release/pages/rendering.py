"""From a record's account to its pages. Pure but for the templates, which lie beside this module.

Whatever is in the record is text that somebody else wrote: the templates escape it, it is in no attribute but
`title`, `datetime` and the name of a release's page, and a policy forbids scripts and requests altogether.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.release.account import Account, ReleaseTold, Try, WatchTold, between
from components.release.audiences import Language
from components.release.pages import charts
from components.release.pages.words import NAMES, word

FOLDER = Path(__file__).parent
COMPILED = FOLDER / "__pycache__"
FIRST = "index.html"
UNKNOWN = "\N{EN DASH}"
# As record.new_id makes them; no other one becomes part of a path.
RELEASE_ID = re.compile(r"\d{8}T\d{6}Z-[A-Za-z0-9._-]{1,100}")
TONES: Mapping[str, tuple[str, ...]] = {
    "good": ("succeeded", "done", "quiet", "stable", "restore done", "drill done"),
    "bad": (
        *("failed", "breached", "not stable", "attempt refused"),
        *("recovery failed", "restore failed", "drill failed"),
    ),
    "warn": ("open", "begun", "too little traffic", "not enough data", "not measured", "cut short"),
}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One picture of the watch. Of two lines the second is of what is worse."""

    title: str
    lines: tuple[str, ...]


def pages(account: Account, *, of: Iterable[str] | None = None) -> dict[str, bytes]:
    """Path → page: the index in each language, and a page for each release; `of`: only for these ids."""
    wanted = None if of is None else set(of)
    drawn = {FIRST: _page("root.html", account.stack, account.language, file=FIRST)}
    for language in NAMES:
        drawn[f"{language}/{FIRST}"] = _page(
            FIRST, account.stack, language, file=FIRST, account=account, rows=_rows(account)
        )
    for told in account.releases:
        if wanted is None or told.id in wanted:
            drawn |= release_pages(told, account.stack)
    return drawn


def release_pages(told: ReleaseTold, stack: str | None) -> dict[str, bytes]:
    """One in each language."""
    return {f"{language}/{file_of(told.id)}": _release(told, stack, language) for language in NAMES}


def _release(told: ReleaseTold, stack: str | None, language: Language) -> bytes:
    return _page(
        "release.html",
        stack,
        language,
        file=file_of(told.id),
        told=told,
        bars=charts.timeline(told.steps),
        curves=_curves(told.watch, language) if told.watch else (),
    )


def file_of(release: str) -> str:
    """The name of a release's page, whatever the id is."""
    if RELEASE_ID.fullmatch(release):
        return f"{release}.html"
    return f"{hashlib.sha256(_bytes(release)).hexdigest()[:20]}.html"


def spoken(language: Language, seconds: float | None) -> str:
    """Such as "0.3 s", "12 s", "4 min 10 s", "3 h 5 min"."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return f"{_decimals(language, f'{seconds:.1f}')} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def number(language: Language, value: float | None) -> str:
    """To one decimal, where there is one."""
    return UNKNOWN if value is None else _decimals(language, f"{value:.1f}".removesuffix(".0"))


def tone(word: str) -> str:
    """The class of a word's colour; empty for one without."""
    return next((name for name, words in TONES.items() if word in words), "")


def watch_word(watch: WatchTold) -> str:
    if watch.verdict is None and watch.first_breach:
        return "breached"
    return watch.verdict or ("under way" if watch.began else "not begun")


# -- inside ------------------------------------------------------------------------------------------------
def _page(template: str, stack: str | None, language: Language, **values: object) -> bytes:
    t = partial(word, language)
    page = (
        _templates()
        .get_template(template)
        .render(
            language=language,
            languages=NAMES,
            heading=t("of stack", stack=stack) if stack else t("logbook"),
            t=t,
            spoken=partial(spoken, language),
            number=partial(number, language),
            **values,
        )
    )
    return _bytes(page)


@cache
def _templates() -> Environment:
    found = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        # Beside Python's own: each step is a process, which would compile them anew.
        bytecode_cache=FileSystemBytecodeCache(str(COMPILED)) if os.access(COMPILED, os.W_OK) else None,
    )
    style = (FOLDER / "page.css").read_text()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    found.globals |= {
        "style": Markup(style),
        "policy": f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        f"form-action 'none'",
        "file_of": file_of,
        "tone": tone,
        "watch_word": watch_word,
        "begins": _begins,
    }
    return found


def _rows(account: Account) -> list[object]:
    """Releases and what was done beside them, the newest first."""
    dated = [
        *((told.opened_at, told) for told in account.releases),
        *((entry.time, entry) for entry in account.beside),
    ]
    return [row for _, row in sorted(dated, key=lambda pair: pair[0], reverse=True)]


def _begins(told: ReleaseTold, step: Try) -> float:
    return max(between(told.opened_at, step.began), 0.0)


def _curves(watch: WatchTold, language: Language) -> list[Drawn]:
    if not watch.curve:
        return []
    times, requests, client, server, slow = zip(*watch.curve, strict=True)
    span = spoken(language, times[-1] - times[0])
    drawn = []
    for what, series, unit in (
        ("requests", [requests], ""),
        ("errors", [client, server], ""),
        ("95 %", [slow], " ms"),
    ):
        if (found := charts.curves(times, *series)) is not None:
            top = f"{number(language, found.top)}{unit}"
            title = word(language, "curve", what=word(language, what), span=span, top=top)
            drawn.append(Drawn(title=title, lines=found.lines))
    return drawn


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # JSON can carry halves of surrogate pairs


def _decimals(language: Language, text: str) -> str:
    return text.replace(".", ",") if language == "es" else text
