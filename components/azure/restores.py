"""Restores as the release's steps ask for them: each is a job in the network, which answers in JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.target import Beside, Change, Comparison, Completed, Drill, TargetError

DRILL = "relevo_drill"  # a drill's database; that of a dump's trial is swept at any time


@dataclass(frozen=True)
class Restores:
    """`run`: the words of a job to its end, not taken from an earlier one."""

    run: Callable[[Sequence[str]], Completed]

    def restore(self, backup: str, *, image: str | None) -> Beside:
        return Beside(**self._answer(["bring", backup, *([image] if image else [])], "beside"))

    def beside(self) -> list[Beside]:
        return [Beside(**found) for found in self._answer(["beside"], "besides")]

    def compare(self, id: str) -> Comparison:
        found: Mapping[str, Any] = self._answer(["compare", id], "compared")
        return Comparison(
            changes=tuple(
                Change(**{**change, "columns": tuple(change["columns"])}) for change in found["changes"]
            ),
            migrations=tuple(found["migrations"]),
        )

    def switch(self, id: str, *, image: str | None) -> Beside:
        return Beside(**self._answer(["switch", id, *([image] if image else [])], "beside"))

    def remove(self, id: str) -> None:
        self._answer(["remove", id], "removed")

    def drill(self, backup: str) -> Drill:
        return Drill(**self._answer(["drill", backup], "drill"))

    def _answer(self, words: Sequence[str], key: str) -> Any:
        done = self.run(["restore", *words])
        found = done.answer(key)
        if found is None:
            raise TargetError(done.last_line)
        return found[key]
