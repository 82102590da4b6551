"""No secret in text, in any of the forms in which text hands it on."""

from __future__ import annotations

import html
import json
from urllib.parse import quote, quote_plus

import pytest

from components.masking import MASK, Masking

AWKWARD = "a\"b\\c/d&é 'x'+y"


@pytest.mark.parametrize(
    "form",
    [
        str,
        json.dumps,
        lambda value: json.dumps(value, ensure_ascii=False),
        repr,
        html.escape,
        lambda value: quote(value, safe=""),
        lambda value: quote(value, safe="/&+'").lower(),
        quote_plus,
        lambda value: json.dumps(json.dumps(value)),
        lambda value: value.replace("'", "&#39;").replace('"', "&#34;").replace("/", "\\/"),
    ],
    ids=["plain", "json", "letters", "python", "html", "url", "url of a path", "form", "json twice", "other"],
)
def test_each_form_is_masked(form) -> None:
    text = Masking([AWKWARD])(f"it said {form(AWKWARD)} twice: {form(AWKWARD)}")
    assert AWKWARD not in text
    assert "é" not in text
    assert text.count(MASK) == 2


def test_a_secret_that_begins_with_another_is_masked_whole() -> None:
    assert Masking(["correct", "correct horse"])("correct horse") == MASK


def test_each_line_of_a_key_is_masked() -> None:
    masking = Masking(["-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nab\n-----END KEY-----\n"])
    assert masking("MIIEvQIBADANBgkq") == MASK
    assert masking("about ab") == "about ab", "a short line is an ordinary word"


def test_nothing_to_hide_hides_nothing() -> None:
    assert Masking([])("text") == "text"
    assert Masking([""])("text") == "text"


def test_data_is_masked_in_depth() -> None:
    data = {"requests": [{"fault": "it said s3cret", "status": 500}], "s3cret": ("s3cret", None, True)}
    assert Masking(["s3cret"]).data(data) == {
        "requests": [{"fault": f"it said {MASK}", "status": 500}],
        MASK: [MASK, None, True],
    }
