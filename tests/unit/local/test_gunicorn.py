"""The command line that serves an instance."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.capacity import Capacity
from components.local.gunicorn import command
from components.target import TargetError


def environment_folder(folder: Path, source: str) -> Path:
    config = folder / "lib" / "python3.12" / "site-packages" / "gunicorn" / "config.py"
    config.parent.mkdir(parents=True)
    config.write_text(source)
    return folder


def test_a_wsgi_project_is_served_by_threads(tmp_path: Path) -> None:
    app = {"wsgi": "site.wsgi:application", "asgi": None, "worker_class": None}
    folder = environment_folder(tmp_path, 'cli = ["--no-control-socket"]')
    argv = command(app, Capacity(workers=3, threads=4), environment_folder=folder, port=20001)
    assert argv[:4] == (str(folder / "bin" / "python"), "-m", "gunicorn", "site.wsgi:application")
    text = " ".join(argv[4:])
    assert "--bind 127.0.0.1:20001 --workers 3 --threads 4 --worker-class gthread" in text
    assert argv[-1] == "--no-control-socket"


def test_an_asgi_project_is_served_by_uvicorn(tmp_path: Path) -> None:
    app = {"wsgi": None, "asgi": "site.asgi:application", "worker_class": None}
    folder = environment_folder(tmp_path, "")
    argv = command(app, Capacity(workers=1, threads=1), environment_folder=folder, port=20001)
    assert "uvicorn_worker.UvicornWorker" in argv
    assert "--no-control-socket" not in argv  # this version does not know it


def test_an_artefact_without_gunicorn_is_refused(tmp_path: Path) -> None:
    app = {"wsgi": "site.wsgi:application", "asgi": None, "worker_class": None}
    with pytest.raises(TargetError, match="has no gunicorn"):
        command(app, Capacity(workers=1, threads=1), environment_folder=tmp_path, port=20001)
