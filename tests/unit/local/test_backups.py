"""A backup that cannot be written leaves nothing behind. What a good one holds is an end-to-end test's."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from components.local.backups import Backups
from components.local.layout import Layout
from components.local.server import Server
from components.local.vault import Vault
from components.target import TargetError


def test_a_full_disk_is_one_line_and_does_not_stay_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Backups, __: str, partial: Path) -> None:
        partial.mkdir()
        (partial / "media.tar").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Backups, "_write", full)
    layout = Layout(tmp_path)
    layout.make()
    backups = Backups(
        layout=layout,
        server=Server(port=1),
        binaries=None,
        secrets=Vault(layout.secrets),
        database="app",
        timeout=1,
    )
    with pytest.raises(TargetError, match=r"cannot be written \(No space left on device\)") as caught:
        backups.take("r1", keep=1, protected=())
    assert "\n" not in str(caught.value)
    assert list(layout.backups.iterdir()) == []
