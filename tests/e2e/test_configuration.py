"""Projects that Relevo has never seen are released by configuration alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.e2e.project import Project
from tests.e2e.sites import BARE, OTHER, build_bare, build_other

pytestmark = pytest.mark.e2e


def test_what_startproject_makes_is_released(new_project: Callable[..., Project], tmp_path: Path) -> None:
    repository = build_bare(tmp_path / "bare", Path(sys.executable))
    project = new_project("bare", BARE, own_store=True)
    project.release(project.build(repository))
    assert httpx.get(f"{project.url}/admin/login/").status_code == 200
    assert project.versions() == {"instance-1": "v1", "instance-2": "v1"}


def test_a_project_with_other_names_a_worker_and_an_https_redirect_is_released(
    new_project: Callable[..., Project], tmp_path: Path
) -> None:
    repository = build_other(tmp_path / "other")
    project = new_project("other", OTHER, own_store=True)
    project.release(project.build(repository, "v1"))
    project.release(project.build(repository, "v2"))

    assert httpx.get(project.url).status_code == 301
    assert httpx.get(project.url, headers={"X-Forwarded-Proto": "https"}).status_code == 200
    assert project.versions() == {"worker": "v2", "instance-1": "v2", "instance-2": "v2"}
