"""A whole stand-in subscription: what the plugin makes in it exists for the release's clients as well.

The plugin writes the store, the stand-in of ARM and the data planes reads it: sites, origins, jobs, secrets
and containers appear there when an `up` has made them.
"""

from __future__ import annotations

import ast
import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient

from components.azure.artefacts import pack
from components.release.manifest import Check, Manifest, Migration
from tests.azure import arm_stand_in
from tests.azure.arm_stand_in import KEY, ArmStandIn, Command
from tests.azure.stand_in import StandInAzure

HURRIED = Path(__file__).with_name("hurried")
VAULT = re.compile(r"/providers/Microsoft\.KeyVault/(vaults/([^/]+)|checkNameAvailability|deletedVaults)$")
EDGE = ".azurefd.net"
TO_UNAPPLY = re.compile(r"^show\((\[.+\])\)  # to reverse", re.MULTILINE)
FIRST = Migration(app="loans", name="0001", effect="additive", reversible=True, operations=("CreateModel",))
SECOND = replace(FIRST, name="0002", operations=("AddIndex",), dependencies=(("loans", "0001"),))
THIRD = replace(
    FIRST, name="0003", effect="breaking", operations=("RemoveField",), dependencies=(("loans", "0002"),)
)


def manifest(version: str, *migrations: Migration) -> Manifest:
    return Manifest(
        version=version,
        revision=hashlib.sha1(version.encode()).hexdigest(),
        built_at="2026-11-24T12:00:00+00:00",
        lock=f"sha256:{hashlib.sha256(version.encode()).hexdigest()}",
        python="3.11",
        migrations=migrations,
        heads={"loans": (migrations[-1].name,)},
        pipeline=(Check(name="tests", passed=True),),
    )


def labels(content: Manifest) -> dict[str, str]:
    """Of an image of that artefact."""
    return {
        "dev.relevo.manifest": pack(content),
        "dev.relevo.lock": content.lock,
        "org.opencontainers.image.version": content.version,
        "org.opencontainers.image.revision": content.revision,
    }


class StandInSubscription(ArmStandIn):
    """`applied`: the database's migrations. `broken`: a job's command ("dump", "migrate"), or a path that
    the public asks for → how it fails.

    `unreadable`: version → the fault of its code on the schema as it is.
    """

    def __init__(self, folder: Path, azure: StandInAzure, *, account: str) -> None:
        super().__init__(folder, account=account)
        self.store = azure
        self.applied: list[tuple[str, str]] = []
        self.broken: dict[str, str] = {}
        self.unreadable: dict[str, str] = {}
        self.commands = self._command
        self._noted = 0
        self._hosts: dict[str, str | None] = {}  # of the edge → the instance that it verifies
        self._versions: dict[str, Manifest] = {}  # digest → what the image is

    def environment(self) -> dict[str, str]:
        here = "127.0.0.1,localhost"  # gRPC, by which the engine talks, reads the lower case one
        return {**super().environment(), "no_proxy": here, "PYTHONPATH": str(HURRIED)}

    def push(self, content: Manifest) -> str:
        """The digest of an image in the registry."""
        digest = self.image(labels(content))
        self._versions[digest] = content
        return digest

    def answer(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Any:
        with self._guard:
            self._follow()
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host.endswith(EDGE):
            instance = self._hosts.get(host)
            if not instance and (fault := self.broken.get(parts.path)):
                return arm_stand_in._Answer(500, {"error": fault})
            return self.public(f"/verify/{instance}{parts.path}" if instance else parts.path, headers)
        if found := VAULT.search(parts.path):
            return self._availability(parts.path, found[2])
        if parts.path.endswith("/providers/Microsoft.Insights/metrics"):
            url = self._without_waiting(url)
        return super().answer(method, url, body, headers)

    def _without_waiting(self, url: str) -> str:
        """Metrics also of a minute that is yet to come, which proves that those before it are complete."""
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        begin = query["timespan"][0].partition("/")[0]
        later = datetime.fromisoformat(begin) + timedelta(minutes=3)
        self.counts = {"of-others": {later: 1.0}}
        query["timespan"] = [f"{begin}/{later:%Y-%m-%dT%H:%M:%SZ}"]
        return parts._replace(query=urlencode(query, doseq=True)).geturl()

    def _availability(self, path: str, vault: str | None) -> Any:
        if vault is None:
            return arm_stand_in._Answer(200, {"nameAvailable": True, "value": []})
        document = self.store.get(path)
        if document is None:
            error = {"code": "ResourceNotFound", "message": f"{path} was not found."}
            return arm_stand_in._Answer(404, {"error": error})
        return arm_stand_in._Answer(200, {"id": path, "name": vault, **document["body"]})

    # -- what the plugin has made ----------------------------------------------------------------------
    def _follow(self) -> None:
        entries = self.store.journal()
        for entry in entries[self._noted :]:
            if entry["operation"] in ("create", "update"):
                self._made(entry["token"].partition(":")[2], entry["id"], entry["inputs"])
            elif entry["operation"] == "delete":
                self._deleted(entry["id"])
            elif entry["operation"] == "push":
                self.manifests |= {digest: text.encode() for digest, text in entry["documents"].items()}
                self._versions[entry["digest"]] = unpack(entry["labels"]["dev.relevo.manifest"])
        self._noted = len(entries)

    def _made(self, kind: str, id_: str, inputs: Mapping[str, Any]) -> None:
        name = id_.rpartition("/")[2]
        if kind == "web:WebApp" and name not in self.sites:
            self.site(name, workers=1)
        elif kind == "cdn:AFDOrigin" and inputs["originGroupName"] == "app" and name not in self.origins:
            host = inputs["hostName"]
            made = self.origin(name, instance=name, site=host.partition(".")[0], host=host)
            made.state, made.at_edge = inputs["enabledState"], inputs["enabledState"] == "Enabled"
        elif kind == "cdn:AFDEndpoint":
            instance = re.search(r"-verify-(.+)$", name)
            made = self.store.get(id_)
            if made:
                self._hosts[made["outputs"]["hostName"]] = instance[1] if instance else None
        elif kind == "app:Job" and name not in self.jobs:
            self.job(name)
        elif kind == "app:ContainerApp" and name not in self.container_apps:
            self.container_app(name)
        elif kind == "keyvault:Secret":
            self.vault[name] = inputs["properties"]["value"]
        elif kind == "storage:BlobContainer":
            self._container(name)

    def _deleted(self, id_: str) -> None:
        name = id_.rpartition("/")[2]
        if "/sites/" in id_:
            self.sites.pop(name, None)
        elif "/originGroups/app/origins/" in id_:
            self.origins.pop(name, None)

    def _container(self, name: str) -> None:
        service = BlobServiceClient(
            f"https://127.0.0.1:{self.azurite.port}/{self.azurite.account}",
            credential={"account_name": self.azurite.account, "account_key": KEY},  # pyright: ignore[reportArgumentType]
            connection_verify=str(self.ca),
        )
        try:
            service.create_container(name)
        except ResourceExistsError:
            service.delete_container(name)
            service.create_container(name)

    # -- what jobs do ----------------------------------------------------------------------------------
    def _command(self, words: Sequence[str]) -> Command:
        name = words[1] if words[0] == "manage.py" else words[0]
        if fault := self.broken.get(name):
            return Command([fault], status=1)
        match list(words):
            case ["schema", *_]:
                return Command([json.dumps({"applied": self.applied, "icu": True})])
            case ["role"]:
                self._make_database()
                return Command(["made"])
            case ["django_facts.py", "settings", salt]:
                return Command([json.dumps(self._django(salt))])
            case ["aside", _, version, *_]:
                fault = self.unreadable.get(version)
                asked = {
                    "name": "it is ready",
                    "status": 500 if fault else 200,
                    "milliseconds": 3,
                    "fault": fault,
                }
                return Command([json.dumps({"read": [asked]})])
            case ["dump", name]:
                self._dump(name)
                return Command(["2 tables, 5 rows: dumped, restored beside and counted"])
            case ["manage.py", "shell", "-c", text] if text.endswith("\nshow()"):
                return Command([json.dumps({"pending": [], "relations": {}, "server": 170002})])
            case ["manage.py", "shell", "-c", text] if asked := TO_UNAPPLY.search(text):
                ((app, last),) = ast.literal_eval(asked[1])
                gone = [(".".join(key), True) for key in self._after(app, last)]
                return Command([json.dumps({"unapplied": gone})])
            case ["manage.py", command, *rest]:
                if command == "migrate" and "--plan" not in rest:
                    self._migrate(rest)
                return Command([f"{command}: done"])
            case _:
                return Command(["done"])

    def _migrate(self, words: Sequence[str]) -> None:
        targets = [word for word in words if not word.startswith("-")]
        if targets:
            gone = self._after(*targets)
            self.applied = [key for key in self.applied if key not in gone]
        else:
            self.applied += [key for key in self._known() if key not in self.applied]

    def _after(self, app: str, last: str) -> list[tuple[str, str]]:
        """What the image that is asked would unapply to go back to `last`; its migrations are one row."""
        known = self._known()
        after = known[known.index((app, last)) + 1 :]
        return [key for key in reversed(after) if key in self.applied]

    def _known(self) -> list[tuple[str, str]]:
        """The migrations of the image that the last job runs."""
        image = self.executed[-1].container.image or ""
        return [migration.key for migration in self._versions[image.partition("@")[2]].migrations]

    @property
    def executed(self) -> list[arm_stand_in.Execution]:
        """What jobs have run, oldest first."""
        return sorted((each for job in self.jobs.values() for each in job), key=lambda each: each.begun)

    def _django(self, salt: str) -> dict[str, Any]:
        """As a project says of itself whose settings are those that it was given."""
        environment = self.executed[-1].environment
        secret = self.vault["secret-key"]
        database = next(document for document in self.store.resources() if _is_server(document))
        return {
            "engine": "django.db.backends.postgresql",
            "host": database["outputs"]["fullyQualifiedDomainName"],
            "port": "5432",
            "name": environment.get("RELEVO_DATABASE", "app"),
            "user": "app",
            "secret_key_sha256": hashlib.sha256(f"{salt}{secret}".encode()).hexdigest(),
            "debug": environment.get("DEBUG") != "false",
            "allowed_hosts": environment["ALLOWED_HOSTS"].split(","),
            "cors_allowed_origins": environment["CORS_ALLOWED_ORIGINS"].split(","),
            "cors_allow_all": False,
            "static_root": environment.get("STATIC_ROOT", ""),
            "media_root": environment.get("MEDIA_ROOT", ""),
        }

    def _make_database(self) -> None:
        """Which exists in ARM as well, whoever made it."""
        server = next(document for document in self.store.resources() if _is_server(document))
        id_ = f"{server['id']}/databases/{self.executed[-1].environment['PGDATABASE']}"
        if self.store.get(id_) is None:
            token = "azure-native:dbforpostgresql:Database"
            self.store.put({"id": id_, "token": token, "inputs": {}, "outputs": {}, "body": {}})

    def _dump(self, name: str) -> None:
        self.blob("backups", f"{name}/database.dump").upload_blob(
            b"PGDMP",
            metadata={
                "taken_at": datetime.now(UTC).isoformat(),
                "verified": "true",
                "detail": json.dumps({"tables": 2, "rows": 5, "media_files": 0}),
            },
        )


def unpack(label: str) -> Manifest:
    return Manifest.from_json(gzip.decompress(base64.b64decode(label)).decode())


def _is_server(document: Mapping[str, Any]) -> bool:
    return document["token"] == "azure-native:dbforpostgresql:Server"
