"""What is made once and then kept in the state."""

from __future__ import annotations

from typing import Any

from pulumi.dynamic import CreateResult

from components.azure.generated import GeneratedProvider, InUseProvider


def _outputs(made: CreateResult) -> dict[str, Any]:
    assert made.outs is not None
    return made.outs


def test_a_random_value_needs_no_quoting_and_is_never_the_same() -> None:
    made = [GeneratedProvider().create({}) for _ in range(50)]
    values = {_outputs(result)["value"] for result in made}
    assert len(values) == len({result.id for result in made}) == 50
    assert all(len(value) == 48 and value.replace("-", "").replace("_", "").isalnum() for value in values)


def test_a_random_value_is_never_made_again() -> None:
    provider = GeneratedProvider()
    made = provider.create({"value": None})
    assert provider.diff(made.id, _outputs(made), {"value": None, "since": None}).changes is False


def test_the_time_moves_only_with_the_value_in_use() -> None:
    provider = InUseProvider()
    made = provider.create({"fingerprint": "a"})
    before = {**_outputs(made), "since": 1}
    assert provider.diff(made.id, before, {"fingerprint": "a"}).changes is False
    assert provider.diff(made.id, before, {"fingerprint": "b"}).changes is True
    renewed = provider.update(made.id, before, {"fingerprint": "b"}).outs
    assert renewed is not None
    assert renewed["fingerprint"] == "b"
    assert renewed["since"] > 1
