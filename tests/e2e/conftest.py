"""What the end-to-end tests share: one artefact store, the example's releases, and a released project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import servers
from tests.e2e.project import Project, committed_configuration
from tests.e2e.releases import EXAMPLE, Digests, build_repository


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefact store of all projects that release the example, so that each release is built once.

    Who builds something else takes a store of his own: a build removes all but the ten newest artefacts, and
    what its own stack needs.
    """
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def new_project(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Iterator[Callable[..., Project]]:
    """Makes projects with their stack initialised; all are destroyed with their data at the end."""
    projects: list[Project] = []

    def make(name: str, configuration: dict[str, Any], *, own_store: bool = False) -> Project:
        project = Project(tmp_path_factory.mktemp(name))
        if not own_store:
            (project.folder / ".relevo" / "artefacts").symlink_to(store)
        projects.append(project)
        project.configure(configuration)
        project.init()
        return project

    yield make
    # All at once, for each waits most of the time; every one is removed before the first fault is told.
    with ThreadPoolExecutor() as pool:
        removals = [pool.submit(project.remove) for project in projects]
    for removal in removals:
        removal.result()


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example backend's releases as tags of one git repository."""
    return build_repository(tmp_path_factory.mktemp("prestamos"))


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's environment, which has all that the further sites need, for tests without Relevo."""
    return servers.python_with(EXAMPLE / "requirements-lock.txt", tmp_path_factory.mktemp("python") / "venv")


@pytest.fixture(scope="session")
def new_database() -> Iterator[Callable[[], str]]:
    """Makes databases of a PostgreSQL that is there for tests without Relevo; returns the URL."""
    with servers.postgresql() as new_database:
        yield new_database


@pytest.fixture(scope="session")
def configuration() -> dict[str, Any]:
    return committed_configuration()


@pytest.fixture(scope="session")
def digests(
    new_project: Callable[..., Project], configuration: dict[str, Any], repository: Path
) -> dict[str, str]:
    return Digests(new_project("builder", configuration), repository)


@pytest.fixture(scope="session")
def site(
    new_project: Callable[..., Project], configuration: dict[str, Any], digests: dict[str, str]
) -> Project:
    """The example's v1, released, for tests that then say by `Project.have` where they begin."""
    project = new_project("site", configuration)
    project.release(digests["v1"], preview=True)
    return project
