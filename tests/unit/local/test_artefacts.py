"""Copies of an artefact's source in the state."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.local.artefacts import Store
from components.local.layout import Layout
from components.target import NotKept

IMAGE = "app@sha256:" + "ab" * 32
APP = {"project": "site", "folders": {"static": "staticfiles", "media": "files/media"}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with a read-only source that has committed media files."""
    layout = Layout(tmp_path / "state")
    layout.make()
    project = tmp_path / "store" / IMAGE / "source" / "site"
    (project / "files" / "media").mkdir(parents=True)
    (project / "files" / "media" / "logo.png").write_text("committed")
    (project / "manage.py").write_text("")
    for path in (project / "manage.py", project / "files" / "media" / "logo.png"):
        path.chmod(0o444)
    for path in (project / "files" / "media", project / "files", project):
        path.chmod(0o555)
    return Store(tmp_path / "store", layout)


def test_hard_coded_folders_become_links_to_the_targets(store: Store) -> None:
    layout = store.layout
    (layout.media / "logo.png").write_text("uploaded")
    project = store.materialise(IMAGE, APP)
    assert project == layout.app / "abababababab" / "site"
    assert (project / "staticfiles").readlink() == layout.static / "abababababab"
    assert (project / "files" / "media").readlink() == layout.media
    assert (layout.media / "logo.png").read_text() == "uploaded"  # data wins over what was committed


def test_it_is_done_once_and_again_after_a_kill(store: Store) -> None:
    killed = store.layout.app / ".abababababab.partial"
    killed.mkdir()
    (killed / "half").touch()
    project = store.materialise(IMAGE, APP)
    inode = project.stat().st_ino
    assert store.materialise(IMAGE, APP).stat().st_ino == inode
    assert [path.name for path in store.layout.app.iterdir()] == ["abababababab"]


def test_copies_that_nobody_needs_are_removed(store: Store) -> None:
    store.materialise(IMAGE, APP)
    store.prune([IMAGE])
    assert (store.layout.app / "abababababab").is_dir()
    store.prune([])
    assert list(store.layout.app.iterdir()) == []
    assert list(store.layout.static.iterdir()) == []


def test_an_artefact_that_is_not_there_is_an_error(store: Store) -> None:
    with pytest.raises(NotKept, match=r"relevo:image is app@sha256:cdcd.*has no such artefact"):
        store.manifest("app@sha256:" + "cd" * 32)
