"""What runs in a container: says what it is, passes on how its command ended, and proves its dump."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import psycopg.conninfo
import pytest

from components import startup
from components.azure import database_login, dump, image, job_disk, run, schema, start
from components.azure.environment import Reference, process_environment, resolve
from components.azure.login import blobs
from components.azure.marker import Ended, ended, started
from components.local.postgres import bundled
from components.target import Deployment, TargetError
from tests.azure.arm_stand_in import ArmStandIn
from tests.e2e.servers import postgresql
from tests.unit.release.stand_in import manifest

ROOT = Path(__file__).parents[3]
KEY = "k" * 32
LOGGED = """
import sys
from components.azure import run
log = run.Log(run._blob())
sys.exit(run.execute([sys.executable, "-c", sys.argv[1]], key=sys.argv[2], log=log))
"""


def _logged(azure: ArmStandIn, facts: dict[str, Any], program: str) -> subprocess.Popen[bytes]:
    where = f"{facts['storage']['blob_host']}/{facts['storage']['lock']}/jobs/one.log"
    return subprocess.Popen(
        [sys.executable, "-c", LOGGED, program, KEY],
        cwd=ROOT,
        env={**os.environ, "RELEVO_LOG": where, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
    )


def _log(azure: ArmStandIn, facts: dict[str, Any]) -> list[str]:
    return (
        azure.blob(facts["storage"]["lock"], "jobs/one.log").download_blob().readall().decode().splitlines()
    )


def test_a_command_is_logged_twice_and_its_end_is_the_last_line(
    azure: ArmStandIn, facts: dict[str, Any]
) -> None:
    program = "import sys; print('out'); print('err', file=sys.stderr); print('no end', end=''); sys.exit(7)"
    with _logged(azure, facts, program) as process:
        output, _ = process.communicate(timeout=60)
    lines = output.decode().splitlines()
    assert process.returncode == 7
    assert sorted(lines[:-1]) == ["err", "no end", "out"]
    mark = ended(lines[-1:], KEY)
    assert mark is not None
    assert mark.status == 7
    assert _log(azure, facts) == lines
    assert ended(lines, "of another execution") is None


def test_a_command_that_the_platform_ends_is_told_so_and_its_status_is_the_signals(
    azure: ArmStandIn, facts: dict[str, Any]
) -> None:
    with _logged(azure, facts, "import time; print('ready', flush=True); time.sleep(60)") as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    mark = ended(_log(azure, facts), KEY)
    assert mark is not None
    assert mark.status == process.returncode == 128 + signal.SIGTERM


def test_a_command_that_cannot_start_ends_as_in_a_shell(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run.execute(["/nowhere/python"], key=KEY, log=run.Log(None)) == 127
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert lines[0] == "/nowhere/python: No such file or directory"
    assert ended(lines, KEY) == Ended(status=127, key=KEY, seconds=json.loads(lines[1])["seconds"])


def test_a_job_knows_where_its_commands_are() -> None:
    words = ["manage.py", "migrate", "--noinput"]
    argv = image.job(words)
    assert argv[:4] == ("/relevo/bin/python", "-P", "-m", "components.azure.run")
    assert run.command(argv[argv.index("--") + 1 :]) == ["/app/.venv/bin/python", *words]
    script = run.command(["django_facts.py", "settings", "salt"])[1]
    assert Path(script).is_file()
    assert run.command(["dump", "name"]) == [sys.executable, "-P", "-m", "components.azure.dump", "name"]


def test_a_process_says_what_it_is_and_then_becomes_it(tmp_path: Path) -> None:
    environment = {
        "RELEVO_RELEASE_ID": "r2",
        "RELEVO_IMAGE": "assets@sha256:0",
        "RELEVO_VERSION": "v2",
        "RELEVO_INSTANCE": "instance-1",
        "RELEVO_START": "now",
        "WEBSITE_INSTANCE_ID": "abc",
    }

    def begin(**more: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-P", "-m", "components.azure.start", "web", "--", "/bin/pwd"]
        env = {**os.environ, **environment, **more, "PYTHONPATH": str(ROOT)}
        return subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)

    done = begin()
    first, second = done.stdout.splitlines()
    found = started(f"2026-11-24T12:00:00.123Z {first}")
    assert found is not None
    assert (found.deployment, found.worker) == (
        Deployment(image="assets@sha256:0", version="v2", release="r2"),
        "abc",
    )
    assert second == str(tmp_path)

    done = begin(SECRET_KEY="@Microsoft.KeyVault(SecretUri=https://x/secrets/secret-key/)")
    assert done.returncode == 1
    assert "[CRITICAL] relevo: SECRET_KEY has no value from the vault" in done.stdout


def test_an_image_that_is_another_version_than_was_asked_for_says_so_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An image of before that is started with new settings: all that they say is the new release."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(os, "execvpe", lambda *_: pytest.fail("it has started"))
    (tmp_path / image.ITSELF).write_text(manifest("v1").to_json())
    for name in ("RELEASE_ID", "IMAGE", "INSTANCE", "START"):
        monkeypatch.setenv(f"RELEVO_{name}", "given")
    monkeypatch.setenv("RELEVO_VERSION", "v2")
    assert start.main(["web", "--", "gunicorn"]) == 1
    first, last = capsys.readouterr().out.splitlines()
    found = started(first)
    assert found is not None
    assert found.deployment == Deployment(image="given", version="v1", release="given")
    assert startup.errors([last]) == ["[CRITICAL] relevo: this image is v1, but v2 was asked for"]


def test_a_secret_stays_in_the_vault_and_is_never_mixed_into_text(facts: dict[str, Any]) -> None:
    deployment = Deployment(image="i", version="v2", release="r2")
    found = process_environment(facts, process="worker", name="worker", deployment=deployment)
    assert found["SECRET_KEY"] == Reference("secret-key")
    assert found["DATABASE_URL"] == Reference("database-url-a")
    assert (found["HOST"], found["QUEUE"]) == ("assets.example", "all")
    assert resolve("{{x}}", {}, "KEY") == "{x}"
    assert resolve("{one}", {"one": lambda: Reference("one")}, "KEY") == Reference("one")
    with pytest.raises(TargetError, match=r"KEY mixes \{one\} with other text"):
        resolve("{one}{one}", {"one": lambda: Reference("one")}, "KEY")
    with pytest.raises(TargetError, match=r"KEY mixes \{secret\.A\} with other text"):
        resolve("token {secret.A}", {}, "KEY")
    with pytest.raises(TargetError, match=r"KEY uses \{nothing\}, but only \{secret\.NAME\}"):
        resolve("{nothing}", {}, "KEY")


# -- with a real PostgreSQL ----------------------------------------------------------------------------
@pytest.fixture
def database(facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A small database, as libpq's variables name it, in the environment of a job."""
    for variable, name in (
        ("RELEVO_BLOBS", "blob_host"),
        ("RELEVO_BACKUPS", "backups"),
        ("RELEVO_MEDIA", "media"),
    ):
        monkeypatch.setenv(variable, facts["storage"][name])
    with postgresql() as new:
        found = psycopg.conninfo.conninfo_to_dict(new())
        for variable, name in (
            ("PGHOST", "host"),
            ("PGPORT", "port"),
            ("PGUSER", "user"),
            ("PGDATABASE", "dbname"),
        ):
            monkeypatch.setenv(variable, str(found[name]))
        monkeypatch.setattr(database_login, "token", lambda: str(found["password"]))
        monkeypatch.setenv("PATH", f"{bundled()}:{os.environ['PATH']}")
        with database_login.connect(str(found["dbname"])) as connection:
            connection.execute("CREATE TABLE asset (id int PRIMARY KEY)")
            connection.execute("INSERT INTO asset SELECT generate_series(1, 5)")
            yield connection


def test_a_dump_is_restored_and_counted_before_it_is_stored(
    database: psycopg.Connection, azure: ArmStandIn, facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = facts["storage"]
    azure.blob(storage["media"], "photo.jpg").upload_blob(b"jpeg")
    killed, others = "relevo_scratch_release_7", "relevo_scratch_scheduled_7"  # the clock's is still at work
    for name in (killed, others):
        database.execute(f"CREATE DATABASE {name}")  # pyright: ignore[reportArgumentType]
    assert dump.main(["r2"]) == 0
    stored = blobs(storage["blob_host"]).get_blob_client(storage["backups"], "r2/database.dump")
    metadata = stored.get_blob_properties().metadata
    detail = json.loads(metadata["detail"])
    assert metadata["verified"] == "true"
    assert (detail["tables"], detail["rows"], detail["media_files"]) == (1, 5, 1)
    listing = azure.blob(storage["backups"], detail["media"]).download_blob().readall()
    assert json.loads(listing)[0]["name"] == "photo.jpg"
    assert stored.download_blob(offset=0, length=5).readall() == b"PGDMP"

    assert dump.main(["r2"]) == 0  # once more, after a kill: what is stored stays
    assert stored.get_blob_properties().metadata == metadata
    left = database.execute("SELECT datname FROM pg_database WHERE datname LIKE 'relevo_scratch%'").fetchall()
    assert left == [(others,)]
    database.execute(f"DROP DATABASE {others}")  # pyright: ignore[reportArgumentType]


def test_a_dump_that_lost_a_row_is_refused(
    database: psycopg.Connection,
    azure: ArmStandIn,
    facts: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    storage = facts["storage"]
    tool = dump.tool

    def losing(program: str, *arguments: str, connect: bool = True) -> None:
        more = ["--exclude-table-data=asset"] if program == "pg_dump" else []
        tool(program, *arguments, *more, connect=connect)

    monkeypatch.setattr(dump, "tool", losing)
    assert dump.main(["r3"]) == 1
    assert "the backup holds 0 rows of public.asset, but the database had 5" in capsys.readouterr().out
    assert not blobs(storage["blob_host"]).get_blob_client(storage["backups"], "r3/database.dump").exists()


@pytest.mark.parametrize(
    ("cores", "said"),
    [
        (
            "0.5",
            "relevo:azure.jobs.cores is 0.5, which gives 2 GiB of disk, but the dump needs more; raise it",
        ),
        ("2", "relevo:azure.jobs.cores is 2, which gives 8 GiB of disk, but the dump needs more; no job has"),
        ("", "the job's disk is full, but the dump needs more; raise relevo:azure.jobs.cores"),
    ],
)
def test_a_dump_that_does_not_fit_on_the_jobs_disk_names_the_setting(
    database: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cores: str,
    said: str,
) -> None:
    (tmp_path / dump.DUMP).symlink_to("/dev/full")
    database.execute("CREATE TABLE more AS SELECT sha512(i::text::bytea) FROM generate_series(1, 10000) AS i")
    monkeypatch.setattr(
        dump.tempfile, "TemporaryDirectory", lambda prefix: contextlib.nullcontext(str(tmp_path))
    )
    monkeypatch.setenv("RELEVO_CORES", cores)
    assert dump.main(["r4"]) == 1
    assert capsys.readouterr().out.startswith(said)


def test_a_dump_of_more_than_half_of_the_disk_is_told_while_there_is_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / dump.DUMP
    monkeypatch.setenv("RELEVO_CORES", "0.25")
    for size, said in ((2**29, ""), (6 * 2**27, "which gives 1 GiB of disk, but the dump took 0.8 already")):
        with file.open("wb") as sparse:
            sparse.truncate(size)
        job_disk.warn(file)
        told = capsys.readouterr().out
        assert said in told
        assert bool(told) == bool(said)


def test_the_schema_is_told_also_of_an_empty_database(
    database: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert schema.main() == 0
    assert json.loads(capsys.readouterr().out) == {"applied": [], "icu": False}
    database.execute("CREATE TABLE django_migrations (app text, name text)")
    database.execute("INSERT INTO django_migrations VALUES ('site', '0001')")
    assert schema.main() == 0
    assert json.loads(capsys.readouterr().out)["applied"] == [["site", "0001"]]
