"""Secrets taken out of text, also in the forms in which a server or a traceback hands them back. Pure."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

MASK = "********"
SHORTEST_MASKED = 8  # of what a project prints: a shorter value would mask ordinary words
SHORTEST_LINE = 8  # of a secret of several lines, such as a key in PEM


class Masking:
    """Callable on text. Apply it before text is cut: half a secret is not recognised any more."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: one secret may be the beginning of another.
        parts = sorted({part for secret in secrets for part in _parts(secret)}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_pattern, parts))) if parts else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text

    def data(self, value: Any) -> Any:
        """The same for every text inside JSON-able data."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {self(name): self.data(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value


def _parts(secret: str) -> Iterator[str]:
    if secret:
        yield secret
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= SHORTEST_LINE)


def _pattern(secret: str) -> str:
    return "".join(letter if letter.isalnum() and letter.isascii() else _forms(letter) for letter in secret)


def _forms(letter: str) -> str:
    """As it is, or as URLs, forms, JSON, Python and HTML escape it; each has its own idea of what to."""
    percent = "".join(f"%{byte:02x}" for byte in letter.encode(errors="surrogatepass"))
    forms = [
        re.escape(letter),
        f"(?i:{percent})",
        f"(?i:&#(?:{ord(letter)}|x0*{ord(letter):x});)",
        re.escape(html.escape(letter)),
    ]
    if letter == " ":
        forms.append(r"\+")
    escaped = json.dumps(letter)[1:-1]
    if escaped.startswith("\\"):  # JSON inside JSON doubles it
        forms.append(rf"\\{{1,4}}(?i:{re.escape(escaped[1:])})")
    elif letter in "'/":
        forms.append(rf"\\{{1,4}}{letter}")
    return f"(?:{'|'.join(forms)})"
