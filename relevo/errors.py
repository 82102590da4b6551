"""What the desk commands refuse, in one line each."""

from __future__ import annotations


class RelevoError(Exception):
    """A command cannot do what was asked; the message is one line and carries the remedy."""


EMPTY = '""'  # how a word that was given, but is empty, is named
DRAWN = "\u00d7\u2570\u2500\u25b6\u2502\u251c"


def one_line(text: str, limit: int = 600) -> str:
    """Another program's words on one line, without the boxes that some draw; the end is what counts."""
    words = " ".join(text.translate(dict.fromkeys(map(ord, DRAWN), " ")).split())
    return words if len(words) <= limit else f"… {words[-limit:]}"
