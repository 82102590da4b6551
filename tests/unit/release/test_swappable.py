"""A swappable model: the way back depends on the app that takes its place, as Django's loader says it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from components.release import django_facts
from components.release.reversal import reversal
from tests.unit.release.stand_in import manifest, migration

PROJECT = {
    "manage.py": (
        "import os, sys\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\n"
        "from django.core.management import execute_from_command_line as run\nrun(sys.argv)\n"
    ),
    "settings.py": (
        "INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes', 'people', 'loans']\n"
        "AUTH_USER_MODEL = 'people.Person'\n"
    ),
    **{f"{app}{package}/__init__.py": "" for app in ("people", "loans") for package in ("", "/migrations")},
    "people/models.py": (
        "from django.contrib.auth.models import AbstractBaseUser\n"
        "class Person(AbstractBaseUser):\n    USERNAME_FIELD = 'id'\n"
    ),
    "people/migrations/0001_initial.py": """
from django.db import migrations, models
class Migration(migrations.Migration):
    initial = True
    operations = [migrations.CreateModel("Person", [("id", models.AutoField(primary_key=True))],
                                         {"swappable": "AUTH_USER_MODEL"})]
""",
    "loans/models.py": "",
    "loans/migrations/0001_initial.py": """
from django.conf import settings
from django.db import migrations, models
class Migration(migrations.Migration):
    initial = True
    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations = [migrations.CreateModel("Loan", [
        ("id", models.AutoField(primary_key=True)),
        ("person", models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)),
    ])]
""",
}


def test_what_refers_to_a_swapped_model_is_reversed_with_it(tmp_path: Path) -> None:
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, django_facts.__file__, "migrations"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        check=True,
    )
    known = manifest(
        "v2",
        *(
            migration(
                f"{found['app']}.{found['name']}",
                reversible=found["reversible"],
                after=" ".join(".".join(parent) for parent in found["dependencies"]),
            )
            for found in json.loads(done.stdout)["migrations"]
        ),
    )
    applied = {one.key for one in known.migrations}
    person, loan = ("people", "0001_initial"), ("loans", "0001_initial")
    found = reversal(known, applied, {person}, surplus={person, loan})
    assert (found.commands, found.reverses) == ((("people", "zero"),), (loan, person))
