"""Names: the same pair gives the same names; one that Azure refuses is an error before anything is made."""

from __future__ import annotations

import re

import pytest

from components.azure.naming import LIMITS, Abbreviation, Names
from components.target import TargetError


@pytest.mark.parametrize(
    ("abbreviation", "parts", "name"),
    [
        ("rg", (), "rg-assets-prod"),
        ("kv", (), "kv-assets-prod"),
        ("cr", (), "crassetsprod"),
        ("st", (), "stassetsprod"),
        ("waf", ("verify",), "wafassetsprodverify"),
        ("psql", (), "psql-assets-prod"),
        ("snet", ("endpoints",), "snet-assets-prod-endpoints"),
        ("caj", ("backup",), "caj-assets-prod-backup"),
    ],
)
def test_a_name_says_what_whose_and_which(
    abbreviation: Abbreviation, parts: tuple[str, ...], name: str
) -> None:
    assert Names("assets", "prod").of(abbreviation, *parts) == name


@pytest.mark.parametrize(
    ("workload", "stack", "message"),
    [
        ("Assets", "prod", "relevo:azure.name is 'Assets', but only lower case"),
        ("1assets", "prod", "relevo:azure.name is '1assets', but only"),
        ("asset--loans", "prod", "relevo:azure.name is 'asset--loans', but only"),
        ("assets-", "prod", "relevo:azure.name is 'assets-', but only"),
        ("", "prod", "relevo:azure.name is '', but only"),
        ("assets", "Prod_2", "the stack's name is 'Prod_2', but only"),
        ("windows", "prod", "relevo:azure.name is windows, but Azure reserves the word windows for itself"),
        (
            "assets-and-loans-of-all",
            "prod",
            "relevo:azure.name is assets-and-loans-of-all (23 characters), but with it "
            "kv-assets-and-loans-of-all-prod has 31 and Azure accepts 24; take one of at most 16.",
        ),
        ("assets", "a-stack-name-without-end", "take a shorter stack name too."),
    ],
)
def test_a_name_that_azure_refuses_is_one_clear_error(workload: str, stack: str, message: str) -> None:
    with pytest.raises(TargetError, match=re.escape(message)) as raised:
        Names(workload, stack)
    assert "\n" not in str(raised.value)


def test_a_part_that_makes_it_too_long_is_an_error() -> None:
    names = Names("assets-loans", "prod")
    with pytest.raises(
        TargetError, match=r"caj-assets-loans-prod-dump-of-the-clock has 39 and Azure accepts 32"
    ):
        names.of("caj", "dump-of-the-clock")


def test_every_name_of_the_longest_workload_fits() -> None:
    names = Names("sixteenletters-a", "prod")
    assert all(len(names.of(abbreviation)) <= limit for abbreviation, limit in LIMITS.items())
    assert len(names.of("kv")) == LIMITS["kv"]
