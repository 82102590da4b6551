"""What a manifest says of the source's folders: enough to know what a release touches."""

from __future__ import annotations

from relevo.artefact import folders
from relevo.source import FILE, PROGRAM


def test_a_folder_has_another_digest_when_a_file_in_it_changes_comes_goes_or_may_be_run() -> None:
    files = {"manage.py": (FILE, "1"), "imports/views.py": (FILE, "2"), "imports/rules/a.py": (FILE, "3")}
    before = folders(files)
    assert list(before) == [".", "imports", "imports/rules"]

    def changed(**now: tuple[str, str] | None) -> set[str]:
        kept = {**files, **{name.replace("__", "/") + ".py": about for name, about in now.items()}}
        after = folders({path: about for path, about in kept.items() if about is not None})
        return {folder for folder in {*before, *after} if before.get(folder) != after.get(folder)}

    assert changed() == set()
    assert changed(imports__views=(FILE, "x")) == {"imports"}
    assert changed(imports__rules__a=(PROGRAM, "3")) == {"imports/rules"}
    assert changed(imports__rules__a=None) == {"imports/rules"}
    assert changed(imports__new=(FILE, "4")) == {"imports"}
    assert changed(loans__models=(FILE, "4"), manage=(FILE, "x")) == {"loans", "."}
