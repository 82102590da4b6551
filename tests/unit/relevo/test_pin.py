"""What runs is one line of the configuration; nothing else in that file changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.errors import RelevoError
from relevo.pin import pin, pinned

OLD = f"app@sha256:{'a' * 64}"
NEW = f"app@sha256:{'b' * 64}"


def configuration(folder: Path, text: str) -> Path:
    path = folder / "Pulumi.local.yaml"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            f"# ours\nconfig:\n  relevo:target: local # here\n  relevo:image: {OLD} # released\n  b: 1\n",
            f"# ours\nconfig:\n  relevo:target: local # here\n  relevo:image: {NEW} # released\n  b: 1\n",
            id="replaced, comments and order kept",
        ),
        pytest.param(
            "config:\n  a: 1\n  relevo:target: local # here\n  b: 2\n",
            f"config:\n  a: 1\n  relevo:target: local # here\n  relevo:image: {NEW}\n  b: 2\n",
            id="new, behind the target",
        ),
        pytest.param(
            "config:\n    # first\n\n    a: 1\nencryptionsalt: v1:x\n",
            f"config:\n    # first\n\n    relevo:image: {NEW}\n    a: 1\nencryptionsalt: v1:x\n",
            id="new, in the file's own indentation",
        ),
        pytest.param(
            f"config:\n  'relevo:image': \"{OLD}\"\n  a: ü\n",
            f"config:\n  'relevo:image': {NEW}\n  a: ü\n",
            id="quoted",
        ),
        pytest.param(
            "config:\n  relevo:image:\n  a: 1\n", f"config:\n  relevo:image: {NEW}\n  a: 1\n", id="empty"
        ),
        pytest.param(
            f"config:\r\n  relevo:image: {OLD}\r\n  a: 1\r\n",
            f"config:\r\n  relevo:image: {NEW}\r\n  a: 1\r\n",
            id="Windows line ends",
        ),
        pytest.param(
            f"config:\n  note: |\n    relevo:image: text\n  relevo:image: {OLD}\n",
            None,
            id="the same words in a text are not the key",
        ),
        pytest.param(f"config: {{relevo:target: local, relevo:image: {OLD}}}\n", None, id="one line for all"),
    ],
)
def test_only_that_line_changes_or_nothing_does(tmp_path: Path, before: str, after: str | None) -> None:
    path = configuration(tmp_path, before)
    if after is None:
        with pytest.raises(RelevoError, match="by hand"):
            pin(path, NEW)
        assert path.read_bytes().decode() == before
    else:
        pin(path, NEW)
        assert path.read_bytes().decode() == after
        assert pinned(path) == NEW


def test_it_says_what_was_pinned_before(tmp_path: Path) -> None:
    path = configuration(tmp_path, "config:\n  relevo:target: local\n")
    assert pinned(path) is None
    assert pin(path, OLD) is None
    assert pin(path, NEW) == OLD


def test_the_file_keeps_its_mode_and_a_link_stays_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    real = configuration(folder, "config:\n  relevo:target: local\n")
    real.chmod(0o640)
    link = tmp_path / "Pulumi.local.yaml"
    link.symlink_to(real)
    pin(link, NEW)
    assert link.is_symlink()
    assert pinned(real) == NEW
    assert real.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("text", ["", "config:\n", "config: [1]\n", "config: {\n", "- a\n"])
def test_a_configuration_without_keys_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(RelevoError) as refused:
        pin(configuration(tmp_path, text), NEW)
    assert "\n" not in str(refused.value)


def test_a_missing_configuration_is_told(tmp_path: Path) -> None:
    with pytest.raises(RelevoError, match=r"Pulumi\.qa\.yaml is not in"):
        pin(tmp_path / "Pulumi.qa.yaml", NEW)
