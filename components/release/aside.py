"""A process that was started to be asked, and never serves a user: its answers, and why there were none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from components.release import scenario
from components.release.verification import Result, Runner, ScenarioFailed


def ask(
    text: str,
    *,
    address: str,
    headers: Mapping[str, str],
    version: str,
    secret: Callable[[str], str],
    ended: Callable[[], str | None],
) -> tuple[Result, ...]:
    """Each request of the scenario as it went; only the last one may have a fault.

    `ended` says how the process has ended; None: it runs.
    """
    runner = Runner(
        scenario.parse(text, "the scenario of the previous version"),
        base_url=address,
        version=version,
        secret=secret,
        headers=headers,
        over=lambda: ended() is not None,
    )
    try:
        return runner.run()
    except ScenarioFailed as failed:
        how = ended()
        *before, last = failed.results
        return (*before, last if how is None else replace(last, fault=f"{last.fault}; {how}"))
