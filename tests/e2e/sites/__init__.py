"""Sites other than the example, to show that Relevo knows no site: their repositories and configurations."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.commits import commit, initialise

_SOURCES = Path(__file__).parent

# What stands under `relevo:` in a stack that releases them.
BARE: dict[str, Any] = {
    "target": "local",
    "app": {
        "settings": "bare.production",
        "wsgi": "bare.wsgi:application",
        "build": {"packages": ["gunicorn", "psycopg[binary]"]},
        "environment": {
            "SECRET_KEY": "{secret.SECRET_KEY}",
            "ALLOWED_HOSTS": "{public.host}",
            "PGHOST": "{database.host}",
            "PGPORT": "{database.port}",
            "PGDATABASE": "{database.name}",
            "PGUSER": "{database.user}",
            "PGPASSWORD": "{database.password}",
            "STATIC_ROOT": "{static.root}",
        },
        "probe": {"path": "/admin/login/"},
    },
    "smoke": str(_SOURCES / "bare" / "smoke.yaml"),
}
OTHER: dict[str, Any] = {
    "target": "local",
    "app": {
        "settings": "inventory.settings",
        "wsgi": "inventory.wsgi:application",
        "build": {"project": "server", "requirements": "server/pyproject.toml"},
        "environment": {
            "APP_KEY": "{secret.APP_KEY}",
            "HOSTS": "{public.host}",
            "DB_HOST": "{database.host}",
            "DB_PORT": "{database.port}",
            "DB_NAME": "{database.name}",
            "DB_USER": "{database.user}",
            "DB_PASS": "{database.password}",
            "CACHE_LOCATION": "{cache.url}",
        },
        "secretKey": "APP_KEY",
        "processes": {
            "worker": {
                "command": ["python", "manage.py", "work"],
                "environment": {"WORKER_RELEASE": "{release.version}"},
            }
        },
        "commands": {"afterMigrate": [["load_reference"]]},
        "folders": {"static": "collected", "media": "uploads"},
        "probe": {"path": "/", "headers": {"X-Forwarded-Proto": "https"}},
    },
    "secrets": {"APP_KEY": {}},
    "smoke": str(_SOURCES / "other" / "smoke.yaml"),
}


def build_bare(folder: Path, python: Path) -> Path:
    """What `startproject` of Django makes, and the production settings that every site needs; tagged v1.

    `python` is an interpreter that has Django. The requirements name Django alone: driver and server are
    for the stack's configuration to add.
    """
    initialise(folder)
    subprocess.run([python, "-m", "django", "startproject", "bare", "."], cwd=folder, check=True)
    shutil.copy(_SOURCES / "bare" / "production.py", folder / "bare")
    (folder / "requirements.txt").write_text("Django~=5.2.0\n")
    commit(folder, "v1")
    return folder


def build_other(folder: Path) -> Path:
    """A project in `server/` with a pyproject.toml, a worker, and names of its own; tagged v1 and v2."""
    initialise(folder)
    shutil.copytree(
        _SOURCES / "other", folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    commit(folder, "v1", day=1)
    views = folder / "server" / "inventory" / "views.py"
    views.write_text(views.read_text().replace("Tariffs", "All tariffs"))
    commit(folder, "v2", day=2)
    return folder
