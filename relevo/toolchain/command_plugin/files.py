"""The files that `assetPaths` and `archivePaths` choose."""

import os
import re
from pathlib import Path

from google.protobuf.struct_pb2 import Value

from relevo.toolchain.command_plugin.wire import asset


class BadGlob(ValueError):
    """A pattern that cannot be read; the text is the user's."""


def glob_pattern(glob: str) -> re.Pattern[str]:
    """`*` and `?` stop at `/`, `**` does not; `[a-z]`, `[!a-z]`, `{a,b}`, `\\` as in gobwas/glob."""
    pattern, depth, rest = "", 0, glob
    while rest:
        if rest.startswith("**"):
            token, part = "**", ".*"
        elif match := re.match(r"\[(!?)([^\]]+)\]", rest):
            token, part = match[0], f"[{'^' if match[1] else ''}{match[2].replace(chr(92), chr(92) * 2)}]"
        elif match := re.match(r"\\(.)", rest):
            token, part = match[0], re.escape(match[1])
        else:
            token = rest[0]
            part = {"*": "[^/]*", "?": "[^/]", "{": "(?:"}.get(token, re.escape(token))
            if depth and token in ",}":
                part = "|" if token == "," else ")"
            depth += {"{": 1, "}": -1 if depth else 0}.get(token, 0)
        pattern += part
        rest = rest[len(token) :]
    try:
        return re.compile(pattern + r"\Z", re.DOTALL)
    except re.error as error:
        raise BadGlob(f"{glob!r} is not a glob: {error}") from None


def find_files(folder: str, globs: list[str]) -> dict[str, Value]:
    """Relative path → asset of the files that the globs select, evaluated in order, `!` taking out again."""
    rules = [(not glob.startswith("!"), glob_pattern(glob.removeprefix("!"))) for glob in globs]
    found: dict[str, Value] = {}
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(parent, name)
            relative = file.relative_to(folder).as_posix()
            taken = False
            for take, pattern in rules:
                taken = take if pattern.match(relative) else taken
            if taken:
                found[relative] = asset(file)
    return found
