"""How many workers and threads an instance gets, and its command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.local.gunicorn import Capacity, capacity, command
from components.target import TargetError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"cores": 1, "instances": 2, "max_connections": 100}, Capacity(workers=2, threads=4)),
        ({"cores": 2, "instances": 2, "max_connections": 100}, Capacity(workers=3, threads=4)),
        ({"cores": 2, "instances": 4, "max_connections": 100}, Capacity(workers=2, threads=4)),
        ({"cores": 8, "instances": 2, "max_connections": 100}, Capacity(workers=9, threads=4)),
        # more cores than connections: fewer threads first, then fewer workers
        ({"cores": 16, "instances": 2, "max_connections": 100}, Capacity(workers=17, threads=2)),
        ({"cores": 64, "instances": 2, "max_connections": 100}, Capacity(workers=46, threads=1)),
        ({"cores": 2, "instances": 2, "max_connections": 10}, Capacity(workers=1, threads=1)),
        ({"cores": 2, "instances": 2, "max_connections": 100, "workers": 1}, Capacity(workers=1, threads=4)),
        ({"cores": 2, "instances": 2, "max_connections": 100, "threads": 8}, Capacity(workers=3, threads=8)),
        ({"cores": 2, "instances": 2, "max_connections": 50, "threads": 16}, Capacity(workers=1, threads=16)),
    ],
)
def test_capacity_comes_from_the_cores_and_fits_the_connections(
    given: dict[str, Any], expected: Capacity
) -> None:
    assert capacity(**given) == expected


def test_configured_numbers_that_need_too_many_connections_are_refused() -> None:
    with pytest.raises(TargetError) as error:
        capacity(cores=2, instances=4, max_connections=100, workers=8, threads=4, processes=2)
    assert str(error.value) == (
        "relevo:database.maxConnections is 100, but 4 instances of 8 workers with 4 threads need 138; "
        "raise it, or lower relevo:app.workers or relevo:app.threads."
    )


def test_the_connections_of_a_server_of_ones_own_are_named_as_what_they_are() -> None:
    with pytest.raises(TargetError, match=r"^max_connections of db:5432 is 20, but 2 instances .* need 40;"):
        capacity(
            cores=2,
            instances=2,
            max_connections=20,
            workers=4,
            threads=4,
            limit="max_connections of db:5432",
        )


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
