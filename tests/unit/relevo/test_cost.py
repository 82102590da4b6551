"""An estimate says what is counted, from which prices, and what it has no price for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components.azure.monitoring import FRONT_DOOR, LOG_RULES, database_rules
from components.azure.network import ZONES
from relevo import cli, cost, prices
from relevo.errors import RelevoError
from stacks.settings import Settings, load_file

ROOT = Path(__file__).parents[3]


def settings(stack: str, **changed: Mapping[str, Any] | str) -> Settings:
    """Of a committed stack, with changed values in `relevo:azure`, those of a section as a map."""
    found = load_file(ROOT / f"Pulumi.{stack}.yaml")
    assert found.azure is not None
    sections = {
        name: value if isinstance(value, str) else getattr(found.azure, name).model_copy(update=dict(value))
        for name, value in changed.items()
    }
    return found.model_copy(update={"azure": found.azure.model_copy(update=sections)})


def monthly(stack: str, resource: str, **changed: Mapping[str, Any] | str) -> float | None:
    found = cost.estimate(stack, settings(stack, **changed))
    return next((line.monthly for line in found.lines if line.resource == resource), 0.0)


def test_each_committed_stack_has_a_price_for_all_that_it_makes() -> None:
    estimates = [cost.estimate(stack, settings(stack)) for stack in ("dev", "qa", "prod")]
    assert [found.unknown for found in estimates] == [(), (), ()]
    totals = [found.monthly for found in estimates]
    assert totals == sorted(totals)
    assert totals[0] < 300 < totals[1] < 1200 < totals[2]


def test_what_is_bought_twice_is_counted_twice() -> None:
    assert monthly("prod", "app service") == 3 * 2 * prices.PLANS["P1v3"]
    assert monthly("prod", "app service", app={"plans": "shared"}) == 2 * prices.PLANS["P1v3"]
    assert monthly("prod", "app service", app={"plans": "shared"}, second_location="northeurope") == (
        2 * 2 * prices.PLANS["P1v3"]
    )
    assert monthly("prod", "postgresql") == 2 * 4 * prices.DATABASE_CORE["GeneralPurpose"]
    assert monthly("prod", "postgresql", database={"high_availability": "Disabled"}) == 4 * 65
    assert monthly("prod", "managed redis", cache={"replicated": False}) == prices.CACHE_NODE["Balanced_B5"]
    assert monthly("prod", "postgresql backups", database={"geo_backup": False}) == 0


def test_the_network_and_the_alerts_are_those_that_the_components_make() -> None:
    assert len(ZONES) == cost.ENDPOINTS
    assert len(ZONES) + 1 == cost.ZONES  # and the database's, which has no endpoint
    assert len(FRONT_DOOR) + len(database_rules(1)) == cost.METRIC_ALERTS
    assert len(LOG_RULES) == cost.LOG_ALERTS


def test_a_size_without_a_price_is_named_and_not_guessed() -> None:
    found = cost.estimate("prod", settings("prod", app={"sku": "P1v4"}))
    assert found.unknown == ("app service",)
    assert cost.estimate("prod", settings("prod", second_location="northeurope")).unknown == ("peering",)
    assert any("no price for it: app service." in line for line in cost.table(found))
    assert found.monthly == pytest.approx(sum(line.monthly or 0 for line in found.lines))


def test_a_local_stack_costs_nothing_and_is_refused() -> None:
    with pytest.raises(RelevoError, match="stack local is of target local, but only stacks on Azure cost"):
        cost.estimate("local", load_file(ROOT / "Pulumi.local.yaml"))


def test_the_command_says_since_when_its_prices_are_and_that_they_must_be_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    shown = CliRunner().invoke(cli.app, ["cost", "--stack", "qa"]).stdout
    assert f"approximate list prices of {prices.AS_OF} (Azure pricing pages, eastus" in shown
    assert "to be checked" in shown
    for script in json.loads(CliRunner().invoke(cli.app, ["cost", "--stack", "qa", "--json"]).stdout)[
        "lines"
    ]:
        assert f"{script['monthly']:.2f}" in shown, script
