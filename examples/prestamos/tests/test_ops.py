import json
import logging
import os
import re
import secrets
import subprocess
import sys
import tempfile
from unittest import mock

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client, SimpleTestCase
from rest_framework.test import APIClient

from ops.logs import ContextFilter, request_id
from tests.base import GONE, Site

PRODUCTION = {
    "SECRET_KEY": secrets.token_urlsafe(60),
    "JWT_SIGNING_KEY": secrets.token_urlsafe(60),
    "DATABASE_URL": "postgres://user:word@127.0.0.1:1/name",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "ALLOWED_HOSTS": "site.example",
    "CORS_ALLOWED_ORIGINS": "https://app.example",
}


class ReadinessTests(Site):
    def test_ready(self) -> None:
        answer = self.client.get("/readyz/")
        self.assertEqual((answer.status_code, answer.json()["status"]), (200, "ok"))

    def test_a_cache_that_is_gone_degrades_but_does_not_stop_the_site(self) -> None:
        with self.settings(CACHES=GONE):
            answer = self.client.get("/readyz/")
        self.assertEqual((answer.status_code, answer.json()["status"]), (200, "degraded"))

    def test_a_migration_that_is_not_applied_makes_it_unready_and_is_named(self) -> None:
        MigrationRecorder(connection).record_unapplied("audit", "0002_append_only")
        answer = self.client.get("/readyz/")
        self.assertEqual(answer.status_code, 503)
        self.assertEqual(answer.json()["unapplied"], ["audit.0002_append_only"])

    def test_a_database_that_is_gone_makes_it_unready_but_alive(self) -> None:
        with mock.patch.object(MigrationRecorder, "applied_migrations", side_effect=DatabaseError):
            answer = self.client.get("/readyz/")
            self.assertEqual((answer.status_code, answer.json()["database"]), (503, "unreachable"))
            self.assertEqual(self.client.get("/healthz/").status_code, 200)


class HeaderTests(Site):
    def test_every_response_says_which_release_and_instance_answered(self) -> None:
        with self.settings(RELEASE="v7", INSTANCE="two"):
            for address in ("/healthz/", "/readyz/", "/api/assets/", "/nowhere", "/api/loans/0/"):
                answer = self.client.get(address)
                self.assertEqual((answer["X-Release"], answer["X-Instance"]), ("v7", "two"), address)
            refused = self.client.get("/api/docs/", headers={"Host": "evil.example"})
            self.assertEqual((refused.status_code, refused["X-Release"]), (400, "v7"))

    def test_a_request_keeps_its_id_or_is_given_one(self) -> None:
        def identifier(offered: str) -> str:
            return self.client.get("/healthz/", headers={"X-Request-ID": offered})["X-Request-ID"]

        self.assertEqual(identifier("req.1-a_B"), "req.1-a_B")
        for offered in ("", "a b", "x" * 65, 'x"}'):
            self.assertRegex(identifier(offered), r"^[0-9a-f-]{36}$")

    def test_what_django_logs_of_a_refused_request_carries_its_id(self) -> None:
        with self.assertLogs("django.request", "WARNING") as logs:
            self.client.get("/nowhere", headers={"X-Request-ID": "req-9"})
        ContextFilter().filter(logs.records[0])
        self.assertEqual(logs.records[0].request_id, "req-9")

    def test_cors_names_the_configured_origin_only(self) -> None:
        with self.settings(CORS_ALLOWED_ORIGINS=["https://app.example"]):
            for origin, allowed in (("https://app.example", True), ("https://evil.example", False)):
                answer = self.client.get("/healthz/", headers={"Origin": origin})
                self.assertEqual("Access-Control-Allow-Origin" in answer, allowed, origin)

    def test_nothing_is_shown_without_a_login(self) -> None:
        for name in ("assets", "employees", "loans", "audit", "imports"):
            self.assertEqual(APIClient().get(f"/api/{name}/").status_code, 401, name)


class LogTests(SimpleTestCase):
    def test_a_log_line_is_json_with_its_request(self) -> None:
        handler = logging.getLogger().handlers[0]
        token = request_id.set("req-1")
        try:
            record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": "a %s", "args": ("b",)})
            record.request = object()
            ContextFilter().filter(record)
        finally:
            request_id.reset(token)
        line = json.loads(handler.format(record))
        self.assertEqual(
            (line["message"], line["request_id"], line["release"]), ("a b", "req-1", settings.RELEASE)
        )
        self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT.*\+00:00$")


class DocumentationTests(SimpleTestCase):
    def test_the_page_and_all_that_it_loads_come_from_the_site_itself(self) -> None:
        with tempfile.TemporaryDirectory() as folder, self.settings(STATIC_ROOT=folder):
            call_command("collectstatic", interactive=False, verbosity=0)
            client = Client()
            page = client.get("/api/docs/").content.decode()
            loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
            self.assertGreaterEqual(len(loaded), 3)
            for address in loaded:
                self.assertEqual(client.get(address).status_code, 200, address)
            self.assertNotRegex(page, r"https?:|//[a-z]+\.")
            self.assertIn('"validatorUrl": null', page)

    def test_the_schema_describes_every_endpoint(self) -> None:
        schema = Client().get("/api/schema/", headers={"Accept": "application/json"}).json()
        for path in (
            "assets/",
            "employees/",
            "loans/",
            "loans/{id}/return/",
            "audit/",
            "imports/assets/",
            "token/",
        ):
            self.assertIn(f"/api/{path}", schema["paths"])


class EnvironmentTests(SimpleTestCase):
    def check(self, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", "check", *arguments]
        environment = {"PATH": os.environ["PATH"], **environment}
        return subprocess.run(
            command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=False
        )

    def test_production_settings_pass_every_deployment_check(self) -> None:
        done = self.check(PRODUCTION, "--deploy", "--fail-level", "WARNING")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_one_error_names_everything_that_is_missing(self) -> None:
        done = self.check({"SECRET_KEY": "k" * 60, "ALLOWED_HOSTS": ""})
        self.assertNotEqual(done.returncode, 0)
        line = done.stderr.strip().splitlines()[-1]
        self.assertIn("ImproperlyConfigured", line)
        for name in PRODUCTION.keys() - {"SECRET_KEY"}:
            self.assertIn(name, line)
        self.assertNotIn("SECRET_KEY", line)

    def test_it_never_falls_back_to_sqlite(self) -> None:
        for url in ("sqlite:///db.sqlite3", "mysql://u:p@h/n", "postgres:///n", "nonsense", ""):
            for more in (PRODUCTION, {"DEBUG": "true"}):
                done = self.check({**more, "DATABASE_URL": url})
                self.assertIn("DATABASE_URL", done.stderr.strip().splitlines()[-1], url)

    def test_a_word_that_is_no_switch_is_an_error(self) -> None:
        self.assertIn("DEBUG", self.check({**PRODUCTION, "DEBUG": "perhaps"}).stderr.splitlines()[-1])

    def test_a_short_jwt_key_is_a_deployment_error(self) -> None:
        done = self.check({**PRODUCTION, "JWT_SIGNING_KEY": "short"}, "--deploy")
        self.assertIn("prestamos.E001", done.stderr)

    def test_development_needs_only_a_database(self) -> None:
        url = PRODUCTION["DATABASE_URL"]
        self.assertEqual(self.check({"DEBUG": "true", "DATABASE_URL": url}).returncode, 0)
