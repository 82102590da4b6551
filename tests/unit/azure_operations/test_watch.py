"""The watch over a release on Azure, from what Front Door and the workspace tell of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.azure.operations import AzureOperations
from components.release import logbook
from components.release.context import Context
from components.release.running import perform
from components.release.spec import Watch
from components.release.tasks.close_record import close
from components.release.tasks.open_record import open_record
from components.release.watch import watch
from tests.azure.arm_stand_in import ArmStandIn
from tests.unit.release.stand_in import specification

MINUTE = timedelta(minutes=1)


@pytest.fixture
def released_at() -> datetime:
    """Long enough ago that all that was to be watched is known."""
    return datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)


@pytest.fixture
def context(
    azure: ArmStandIn,
    facts: dict[str, Any],
    images: list[str],
    released_at: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> Context:
    """Of v2, which has followed v1."""
    made = [
        Context(
            stack="test",
            trigger=image,
            spec=specification(image=image, watch=Watch(minutes=10, every_seconds=15)),
            operations=AzureOperations(facts),
        )
        for image in images
    ]
    for each, at in zip(made, (released_at - timedelta(hours=9), released_at), strict=True):
        monkeypatch.setattr(logbook, "now", lambda at=at: at)
        open_record(each)
        perform(each, "close-record", close)
    return made[-1]


def test_a_release_that_answers_with_errors_is_caught(
    azure: ArmStandIn, context: Context, released_at: datetime
) -> None:
    minutes = [released_at + n * MINUTE for n in range(-65, 15)]
    azure.statuses = {
        "200": dict.fromkeys(minutes, 190.0),
        "500": {at: 10.0 for at in minutes if at >= released_at},
    }
    azure.access_log = [(at, 0.08) for at in minutes for _ in range(200)]

    judgement = watch(context, context.current(), clock=lambda: datetime.now(UTC), sleep=lambda _: None)

    assert judgement is not None
    assert judgement.verdict == "breached"
    found = context.current().watched
    assert found is not None
    assert {name for name, measure in found["measures"].items() if measure["breached"]} == {"errors-5xx"}
    assert "p95 100 ms" in found["measures"]["latency"]["found"]
    assert found["requests"] in (9 * 200, 10 * 200)
