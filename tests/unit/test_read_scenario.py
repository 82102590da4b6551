"""The scenario that a release gets has in it all that it uploads, and what cannot be had is said before."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from components.release.scenario import parse
from stacks.release import read_scenario
from stacks.settings import SettingsError

UPLOAD = "steps: [{name: a, request: {path: /, method: POST, files: {f: {path: data/rows.csv}}}}]"


def test_what_uploads_no_file_stays_as_it_is_written(tmp_path: Path) -> None:
    text = "# a comment\nsteps: [{name: a, request: {path: /}}]\n"
    (tmp_path / "smoke.yaml").write_text(text)
    assert read_scenario("smoke.yaml", tmp_path) == text


def test_a_file_is_found_beside_the_scenario_and_put_into_it(tmp_path: Path) -> None:
    (tmp_path / "shop" / "data").mkdir(parents=True)
    (tmp_path / "shop" / "smoke.yaml").write_text(UPLOAD)
    (tmp_path / "shop" / "data" / "rows.csv").write_bytes(b"code\xff\n")
    (step,) = parse(read_scenario("shop/smoke.yaml", tmp_path), "as a step gets it").steps
    sent = step.request.files["f"]
    assert (sent.filename, base64.b64decode(sent.content or "")) == ("rows.csv", b"code\xff\n")


def test_a_file_that_is_missing_or_too_big_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "smoke.yaml").write_text(UPLOAD)
    with pytest.raises(
        SettingsError, match=r"^smoke\.yaml uploads data/rows\.csv, but it cannot be read \(No such"
    ):
        read_scenario("smoke.yaml", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_bytes(bytes(50_000))
    with pytest.raises(SettingsError, match=r"^smoke\.yaml with its files has \d+ bytes, but at most 65536"):
        read_scenario("smoke.yaml", tmp_path)
