"""Media follow the database that they belong to, wherever a switch was killed."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from components.local.backups import Backups
from components.local.layout import Layout
from components.local.restores import Restores
from components.local.server import Server
from components.local.vault import Vault
from components.restoring import Note
from components.target import Beside, Change, Comparison

LIVE, KEPT = "20261124t120000z", "20261124t120005z"


class StandInRestoring:
    """The databases alone: `live` says which one is the application's."""

    def __init__(self) -> None:
        self.note: Note | None = None
        self.aside: list[Beside] = []

    def live(self) -> Note | None:
        return self.note

    def all(self) -> list[Beside]:
        return self.aside

    def compare(self, id: str) -> Comparison:
        return Comparison(changes=(), migrations=())

    def switch(self, id: str, *, image: str | None) -> Beside:
        self.note = Note(of="app", id=id, instead_of=KEPT)
        self.aside = [Beside(id=KEPT, database=f"app_before_{KEPT}", image=image, backup=None, kept=True)]
        return self.aside[0]

    def remove(self, id: str) -> None:
        self.aside = [beside for beside in self.aside if beside.id != id]


@pytest.fixture
def databases(monkeypatch: pytest.MonkeyPatch) -> StandInRestoring:
    standing = StandInRestoring()
    monkeypatch.setattr(Restores, "_restoring", property(lambda _: standing))
    return standing


@pytest.fixture
def restores(tmp_path: Path) -> Restores:
    """Its live media have b.txt; what lies beside has a.txt."""
    layout = Layout(tmp_path)
    layout.make()
    (layout.media / "b.txt").write_text("live")
    archive = tmp_path / "media.tar"
    with tarfile.open(archive, "w") as content:
        member = tarfile.TarInfo("a.txt")
        member.size = 6
        content.addfile(member, io.BytesIO(b"backup"))
    backups = Backups(
        layout=layout,
        server=Server(port=1),
        binaries=None,
        secrets=Vault(layout.secrets),
        database="app",
        timeout=1,
    )
    made = Restores(backups=backups)
    made._unpack(archive, layout.media_beside(LIVE))
    return made


def media(restores: Restores, folder: Path | None = None) -> list[str]:
    return [path.name for path in (folder or restores.backups.layout.media).iterdir()]


def test_media_are_switched_with_the_database_and_back(
    restores: Restores, databases: StandInRestoring
) -> None:
    layout = restores.backups.layout
    assert restores.compare(LIVE).changes == (Change(table="media", inserted=1, updated=0, deleted=1),)
    kept = restores.switch(LIVE, image=None)
    assert (media(restores), media(restores, layout.media_beside(KEPT))) == (["a.txt"], ["b.txt"])
    assert not layout.media_beside(LIVE).exists()
    restores.remove(kept.id)
    assert sorted(path.name for path in layout.root.glob("media*")) == ["media", "media.tar"]


@pytest.mark.parametrize("renamed", [False, True], ids=["before the first", "between the two"])
def test_a_switch_that_was_killed_before_the_media_were_in_place_is_completed(
    restores: Restores, databases: StandInRestoring, renamed: bool
) -> None:
    layout = restores.backups.layout
    databases.switch(LIVE, image=None)
    if renamed:
        layout.media.rename(layout.media_beside(KEPT))
    for _ in range(2):  # and nothing more at the next call
        assert [beside.id for beside in restores.beside()] == [KEPT]
        assert (media(restores), media(restores, layout.media_beside(KEPT))) == (["a.txt"], ["b.txt"])


def test_what_the_site_writes_between_the_two_renames_is_kept_and_hinders_nothing(
    restores: Restores, databases: StandInRestoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload makes the folder that is not there, and its row is in the database that serves by now."""
    live = restores.backups.layout.media
    rename = Path.rename

    def upload_after(path: Path, target: Path) -> Path:
        done = rename(path, target)
        if path == live:
            (live / "photos" / "2026").mkdir(parents=True)
            (live / "photos" / "2026" / "new.jpg").write_text("uploaded meanwhile")
            (live / "empty").mkdir()
            (live / "shared").symlink_to(live.parent)
        return done

    monkeypatch.setattr(Path, "rename", upload_after)
    restores.switch(LIVE, image=None)
    assert sorted(media(restores)) == ["a.txt", "photos", "shared"]
    assert (live / "photos" / "2026" / "new.jpg").read_text() == "uploaded meanwhile"
    assert media(restores, restores.backups.layout.media_beside(KEPT)) == ["b.txt"]
    assert not restores.backups.layout.media_beside(LIVE).exists()


def test_media_beside_stay_while_their_database_is_not_the_applications(
    restores: Restores, databases: StandInRestoring
) -> None:
    assert restores.beside() == []
    assert media(restores) == ["b.txt"]
    databases.note = Note(of="app", id="20261123t000000z", instead_of=KEPT)
    restores.beside()
    assert media(restores) == ["b.txt"]


def test_media_of_a_switch_that_was_killed_are_not_dropped_with_the_name_that_they_had_beside(
    restores: Restores, databases: StandInRestoring
) -> None:
    databases.switch(LIVE, image=None)
    restores.remove(LIVE)
    assert media(restores) == ["a.txt"]
    assert media(restores, restores.backups.layout.media_beside(KEPT)) == ["b.txt"]
