"""What the release's steps may do on Azure. See `components.target.Operations`."""

from __future__ import annotations

import functools
import hashlib
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.azure import image as layout
from components.azure.artefacts import Artefacts
from components.azure.backups import Backups
from components.azure.consoles import Consoles
from components.azure.environment import Environment, Reference, identity, libpq, process_environment
from components.azure.handed_over import HandedOver
from components.azure.jobs_run import Jobs, key_of
from components.azure.login import PUBLIC, Clients
from components.azure.observing import Observing
from components.azure.pages import publish
from components.azure.processes import Processes
from components.azure.record import Record
from components.azure.restores import DRILL, Restores
from components.azure.rotation import Rotation
from components.azure.secret_names import VERIFY, VERIFY_HEADER, secret_name
from components.azure.secrets import Secrets
from components.azure.sites import Sites, new_start, platform_settings
from components.masking import SHORTEST_MASKED, Masking
from components.release.manifest import Manifest
from components.target import (
    Artefact,
    Backup,
    Beside,
    Comparison,
    Completed,
    Counted,
    DatabaseFacts,
    Deployment,
    DjangoFacts,
    Drill,
    Instance,
    Observed,
    Query,
    TargetError,
)
from components.templates import variables

if TYPE_CHECKING:
    from components.release.verification import Result

DATABASE_URL = "{database.url}"


class AzureOperations:
    """Implements `Operations` by ARM and the data planes of vault, registry and storage.

    What must talk to the database runs as a job in the network. `facts["image"]` is the pinned artefact, with
    whose tools the jobs run that are of no artefact.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts
        self._limits = facts["limits"]
        group, storage = facts["resource_group"], facts["storage"]
        self._clients = clients = Clients(facts["subscription"], facts.get("resource_manager") or PUBLIC)
        sites = {name: site for name, site in facts["sites"].items() if name not in facts["processes"]}
        front_door = facts["front_door"]
        self._secrets = Secrets(clients, facts["vault"]["uri"], facts["secrets"])
        self._artefacts = Artefacts(clients, **_only(facts["registry"], "server", "repository"))
        self._record = Record(host=storage["blob_host"], logbook=storage["logbook"], lock=storage["lock"])
        self._handed_over = HandedOver(host=storage["blob_host"], logbook=storage["logbook"])
        self._jobs = Jobs(
            clients,
            group=group,
            names=facts["jobs"],
            vault_uri=facts["vault"]["uri"],
            workspace=facts["workspace"],
            blob_host=storage["blob_host"],
            lock=storage["lock"],
            limit=self._limits["command_seconds"],
        )
        self._backups = Backups(
            clients,
            group=group,
            server=facts["database"]["server"],
            host=storage["blob_host"],
            container=storage["backups"],
            on_demand=facts["backup"].get("on_demand", True),
            limit=self._limits["command_seconds"],
        )
        self._sites = Sites(
            clients,
            group=group,
            names={name: site["name"] for name, site in sites.items()},
            vault_uri=facts["vault"]["uri"],
        )
        self._processes = Processes(
            clients,
            group=group,
            names={name: facts["sites"][name]["name"] for name in facts["processes"]},
            vault_uri=facts["vault"]["uri"],
        )
        self._observing = Observing(
            clients,
            group=group,
            profile=front_door["profile"],
            endpoint=front_door["endpoint"],
            workspace=facts["workspace"],
        )
        self._rotation = Rotation(
            clients,
            group=group,
            profile=front_door["profile"],
            origin_group=front_door["origin_group"],
            origins=front_door["origins"],
            hosts={name: site["host"] for name, site in sites.items()},
            public_url=facts["public_url"],
            probe=facts["app"]["probe"],
            quiet_minutes=int(self._limits.get("quiet_minutes", 1)),
        )
        self._schema: dict[str, Any] | None = None
        self._step = ""

    # -- facts -----------------------------------------------------------------------------------------
    @property
    def public_url(self) -> str:
        return self._facts["public_url"]

    def artefact(self, image: str) -> Artefact:
        return Artefact(image=image, manifest=self._artefacts.manifest(image))

    def missing_secrets(self) -> list[str]:
        return self._secrets.missing()

    def secret(self, name: str) -> str:
        return self._secrets.read(name)

    def database(self) -> DatabaseFacts:
        return DatabaseFacts(**_only(self._facts["database"], "host", "port", "name", "user"))

    def instance(self, name: str) -> Instance:
        if not self._serves(name):
            return Instance(
                name=name,
                deployment=self._processes.asked(name),
                running=self._processes.running(name),
                in_rotation=False,
                address=None,
                access_headers={},
                visitor_headers={},
            )
        view = self._sites.view(name)
        return Instance(
            name=name,
            deployment=view.asked,
            running=view.running and bool(view.workers),
            in_rotation=self._rotation.contains(name),
            address=self._facts["sites"][name]["verify_url"],
            access_headers={VERIFY_HEADER: self._secrets.own(VERIFY)},
            visitor_headers={},  # Front Door is in between here as well, and says what it always says
        )

    def applied_migrations(self) -> frozenset[tuple[str, str]]:
        return frozenset((app, name) for app, name in self._database_schema()["applied"])

    def unmet(self, manifest: Manifest) -> str | None:
        needing = [migration for migration in manifest.migrations if migration.icu]
        if not needing:
            return None
        applied = self.applied_migrations()
        pending = next((migration for migration in needing if migration.key not in applied), None)
        if pending is None or self._database_schema()["icu"]:
            return None
        return f"{pending} needs ICU collations, but {self._facts['database']['host']} has none; remove them"

    # -- work beside the database ----------------------------------------------------------------------
    @contextmanager
    def exclusive(self, step: str) -> Iterator[None]:
        if self._step:
            yield
            return
        timeout = self._limits["command_seconds"]
        with self._record.exclusive(step, timeout=timeout):
            self._jobs.wait_for_orphans(step, timeout=timeout)
            self._step = step
            try:
                yield
            finally:
                self._step = ""

    def manage(
        self,
        image: str,
        arguments: Sequence[str],
        *,
        release: str,
        process: str = "manage",
        show: bool = True,
    ) -> Completed:
        self._schema = None
        return self._run(
            image,
            ["manage.py", *arguments],
            environment=self._environment(image, release=release, process=process),
            key=key_of("manage", release, self._step, image, process, list(arguments)),
            show=show,
        )

    def django_facts(self, image: str, *, release: str, process: str) -> DjangoFacts:
        salt = secrets.token_hex(16)
        done = self._run(
            image,
            ["django_facts.py", "settings", salt],
            environment=self._environment(image, release=release, process=process),
            key=key_of("django_facts", release, self._step, image, process, salt),
            show=False,
        )
        return DjangoFacts.of(
            done,
            settings=self._facts["app"]["settings"],
            is_secret_key=lambda found: self._is_secret_key(found, salt),
        )

    # -- backups ---------------------------------------------------------------------------------------
    def backup(self, name: str, *, kept: Collection[str]) -> Backup:
        return self._backups.take(
            name,
            kept=kept,
            dump=lambda: self._run(
                self._facts["image"],
                ["dump", name],
                environment=self._data,
                key=key_of("backup", name),
                kind="backup",
            ),
        )

    def last_backup(self) -> Backup | None:
        return self._backups.last()

    def restore(self, backup: str, *, image: str | None) -> Beside:
        return self._restores().restore(backup, image=image)

    def beside(self) -> list[Beside]:
        return self._restores().beside()

    def compare(self, id: str) -> Comparison:
        return self._restores().compare(id)

    def switch(self, id: str, *, image: str | None) -> Beside:
        self._schema = None
        return self._restores().switch(id, image=image)

    def remove(self, id: str) -> None:
        self._restores().remove(id)

    def drill(self, backup: str, *, image: str | None, release: str) -> Drill:
        if image is None:
            return self._restores().drill(backup)
        elsewhere = {**self._facts, "database": {**self._facts["database"], "name": DRILL}}
        environment = self._environment(image, release=release, process="manage", facts=elsewhere)
        urls = [
            name for name, template in variables(self._facts, "manage").items() if template == DATABASE_URL
        ]
        return self._restores(image, {**environment, "RELEVO_URLS": " ".join(urls)}).drill(backup)

    # -- instances and processes -----------------------------------------------------------------------
    def drain(self, name: str, *, timeout: float) -> None:
        if self._serves(name):
            served = self._sites.view(name).asked is not None
            self._rotation.remove(name, timeout=timeout, served=served)

    def replace(self, name: str, deployment: Deployment) -> None:
        self._artefacts.manifest(deployment.image)  # verifies
        self._artefacts.keep(deployment.image)
        start = new_start()
        environment: Environment = {
            **process_environment(
                self._facts,
                process="web" if self._serves(name) else name,
                name=name,
                deployment=deployment,
            ),
            **identity(self._facts["identity"]["app"]["client_id"]),
            "RELEVO_START": start,
        }
        image = self._artefacts.reference(deployment.image)
        if not self._serves(name):
            command = layout.process(name, self._facts["processes"][name]["command"])
            self._processes.replace(name, start=start, image=image, command=command, environment=environment)
            return
        if self._rotation.contains(name):
            self.drain(name, timeout=self._limits["drain_seconds"])
        probe = self._facts["app"]["probe"]
        settings = platform_settings(
            warmup_path=probe["path"],
            warmup_status=probe["status"],
            start_limit=self._limits["ready_seconds"],
        )
        self._sites.replace(
            name,
            image=image,
            command=layout.web(self._facts["app"]),
            environment={**settings, **environment},
        )

    def withdraw(self, name: str) -> None:
        if self._serves(name):
            self.drain(name, timeout=self._limits["drain_seconds"])
            self._sites.stop(name, timeout=self._limits["ready_seconds"])
        else:
            self._processes.stop(name)

    def deployed(self, name: str) -> Deployment | None:
        return self._sites.deployed(name) if self._serves(name) else self._processes.deployed(name)

    def startup_errors(self, name: str) -> list[str]:
        if self._serves(name):
            return self._sites.startup_errors(name)
        return self._processes.startup_errors(name)

    def read_aside(self, deployment: Deployment, scenario: str) -> tuple[Result, ...]:
        from components.azure.aside import SCENARIO, SECRET
        from components.release.scenario import parse
        from components.release.verification import Result

        used = parse(scenario, "the scenario of the previous version").secrets()
        done = self._run(
            deployment.image,
            ["aside", self._facts["public_host"], deployment.version, *layout.aside(self._facts["app"])],
            environment={
                **process_environment(self._facts, process="web", name="previous", deployment=deployment),
                SCENARIO: scenario,
                **{f"{SECRET}{name}": Reference(secret_name(name)) for name in sorted(used)},
            },
            key=key_of("aside", deployment.release, self._step, deployment.image, scenario),
            fresh=True,
        )
        found = done.answer("read")
        if found is None:
            raise TargetError(f"the job in its image ended without an answer ({done.last_line}).")
        return tuple(Result(**result) for result in found["read"])

    def admit(self, name: str, *, timeout: float) -> None:
        if self._serves(name):
            self._sites.require_resolved(name, timeout=timeout)
            self._rotation.add(name, timeout=timeout)

    def retire(self) -> None:
        """Those that were removed, and sites whose instance has moved to another region."""
        self._rotation.retire(self._sites.others(), timeout=self._limits["drain_seconds"])

    def prune(self, images: Collection[str]) -> None:
        self._artefacts.prune({*images, *self._placed()})

    # -- what else a desk asks for ---------------------------------------------------------------------
    @property
    def programs(self) -> tuple[str, ...]:
        """Instances and further processes."""
        return tuple(self._facts["sites"])

    @functools.cached_property
    def consoles(self) -> Consoles:
        return Consoles(
            self._clients,
            workspace=self._facts["workspace"],
            names={name: site["name"] for name, site in self._facts["sites"].items()},
        )

    # -- after the release -----------------------------------------------------------------------------
    def observe(self, since: datetime, until: datetime) -> Observed:
        return self._observing.observe(since, until, now=datetime.now(UTC))

    def measure(self, image: str, queries: Sequence[Query], *, release: str) -> tuple[Counted, ...]:
        words = ["django_facts.py", "volumes", Query.to_json(queries)]
        done = self._run(
            image,
            words,
            environment=self._environment(image, release=release, process="manage"),
            key=key_of(release, self._step, *words),
            show=False,
            fresh=True,
        )
        return Counted.of(done)

    def hand_over(self, described: Mapping[str, str]) -> None:
        """To the review, which the clock starts in the network; the watch is CI's."""
        self._handed_over.write(described)

    # -- the record ------------------------------------------------------------------------------------
    def append_record(self, make: Callable[[bytes], str]) -> None:
        self._record.append(make)

    def read_record(self) -> bytes:
        return self._record.read()

    def publish(self, pages: Mapping[str, bytes]) -> None:
        storage = self._facts["storage"]
        publish(pages, host=storage["blob_host"], container=storage["pages"])

    # -- inside ----------------------------------------------------------------------------------------
    def _serves(self, name: str) -> bool:
        """Whether it is an instance, which has an origin; a further process has no address at all."""
        return name not in self._facts["processes"]

    def _placed(self) -> set[str]:
        """Images that some instance or process is to run."""
        asked = [
            self._sites.view(name).asked if self._serves(name) else self._processes.asked(name)
            for name in self._facts["sites"]
        ]
        return {deployment.image for deployment in asked if deployment}

    def _run(
        self,
        image: str,
        words: Sequence[str],
        *,
        environment: Environment,
        key: str,
        kind: str = "manage",
        show: bool = True,
        fresh: bool = False,
    ) -> Completed:
        return self._jobs.run(
            kind,
            words,
            image=self._artefacts.reference(image),
            environment={**identity(self._facts["identity"]["jobs"]["client_id"]), **environment},
            step=self._step,
            key=key,
            masking=self._masking,
            show=show,
            fresh=fresh,
        )

    @property
    def _data(self) -> Mapping[str, str]:
        """What a job needs that reads or writes database, backups and media."""
        storage = self._facts["storage"]
        return {
            **libpq(self._facts["database"]),
            "RELEVO_BLOBS": storage["blob_host"],
            "RELEVO_BACKUPS": storage["backups"],
            "RELEVO_MEDIA": storage["media"],
        }

    def _restores(self, image: str | None = None, environment: Environment | None = None) -> Restores:
        """By jobs of the pinned artefact, or of `image` in an environment of its project."""

        def run(words: Sequence[str]) -> Completed:
            return self._run(
                image or self._facts["image"],
                words,
                environment={**(environment or {}), **self._data},
                key=key_of(self._step, *words),
                kind="backup",
                show=False,
                fresh=True,  # the databases are what they are now
            )

        return Restores(run)

    def _environment(
        self, image: str, *, release: str, process: str, facts: Mapping[str, Any] | None = None
    ) -> Environment:
        return process_environment(
            facts or self._facts,
            process=process,
            name="manage",
            deployment=Deployment(image=image, version=self._version(image), release=release),
        )

    def _version(self, image: str) -> str:
        return self._artefacts.manifest(image).version

    def _database_schema(self) -> dict[str, Any]:
        """As it is now; kept until a command of ours may have changed it."""
        if self._schema is None:
            done = self._run(
                self._facts["image"],
                ["schema"],
                environment=libpq(self._facts["database"]),
                key=key_of("schema", self._step),
                show=False,
                fresh=True,
            )
            found = done.answer("applied")
            if found is None:
                raise TargetError(
                    f"the database's migrations cannot be read ({done.last_line}), but they must be known; "
                    f"correct that, and run pulumi up again."
                )
            self._schema = found
        return self._schema

    @functools.cached_property
    def _masking(self) -> Masking:
        return Masking(value for value in self._secrets.all() if len(value) >= SHORTEST_MASKED)

    def _is_secret_key(self, found: str, salt: str) -> bool | None:
        name = self._facts["app"]["secret_key"]
        if name is None:
            return None
        return found == hashlib.sha256(f"{salt}{self._secrets.read(name)}".encode()).hexdigest()


def _only(found: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: found[name] for name in names}
