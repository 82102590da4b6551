"""The application's database and its roles, made by a job in the network: nothing else reaches the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from components.azure.artefacts import Artefacts
from components.azure.environment import Reference, libpq
from components.azure.guard import guarded, lock
from components.azure.jobs_run import Jobs, key_of
from components.azure.login import Clients
from components.azure.logins import LOGINS, Login, password_secret, password_variable
from components.azure.place import Place
from components.faults import in_one_line
from components.masking import Masking
from components.target import TargetError

Properties = dict[str, Any]

STEP = "database-role"
INPUTS = ("database", "user", "password_versions", "image", "facts")


@dataclass(frozen=True, kw_only=True)
class DatabaseRoleArgs:
    """`facts`: the target's, as far as a job needs them. `image`: with whose tools the job runs.

    `user`: who owns the database. `password_versions`: login → another one is another password.
    """

    place: Place
    database: str
    user: str
    password_versions: Mapping[Login, pulumi.Input[str]]
    image: pulumi.Input[str]
    facts: pulumi.Input[Mapping[str, Any]]


class DatabaseRole(pulumi.ComponentResource):
    """Depends on the jobs, and comes before the release.

    In a guarded place the database is locked, and not the server: a lock is inherited, and would keep the
    backup of an old release from being removed for that of a new one, of which Azure keeps seven.
    """

    def __init__(self, name: str, args: DatabaseRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:DatabaseRole", name, None, opts)
        made = OwnedDatabase(
            f"{name}-database",
            database=database_id(args.place, args.database),
            user=args.user,
            password_versions=args.password_versions,
            image=args.image,
            facts=pulumi.Output.json_dumps(args.facts),
            opts=guarded(self, args.place),
        )
        lock(self, f"{name}-lock", args.place, made, "Holds the application's data.")
        self.id = made.id
        self.register_outputs({"id": self.id})


def database_id(place: Place, database: str) -> str:
    """As ARM has it, whoever made it."""
    return (
        f"/subscriptions/{place.subscription}/resourceGroups/{place.names.of('rg')}"
        f"/providers/Microsoft.DBforPostgreSQL/flexibleServers/{place.names.of('psql')}/databases/{database}"
    )


def make(facts: Mapping[str, Any], *, image: str, password_versions: Mapping[str, str]) -> None:
    """Run the job to its end. Raises `TargetError`."""
    database, storage = facts["database"], facts["storage"]
    limit = facts["limits"]["command_seconds"]
    clients = Clients(facts["subscription"], facts["resource_manager"])
    artefacts = Artefacts(clients, **facts["registry"])
    artefacts.manifest(image)  # which tells better than a job what is wrong with it
    jobs = Jobs(
        clients,
        group=facts["resource_group"],
        names=facts["jobs"],
        vault_uri=facts["vault"]["uri"],
        workspace=facts["workspace"],
        blob_host=storage["blob_host"],
        lock=storage["lock"],
        limit=limit,
    )
    done = jobs.run(
        "manage",
        ["role"],
        image=artefacts.reference(image),
        environment={
            "AZURE_CLIENT_ID": facts["identity"]["jobs"]["client_id"],
            **libpq(database),
            "RELEVO_ROLE": database["owner"],
            **{password_variable(login): Reference(password_secret(login)) for login in LOGINS},
        },
        step=STEP,
        key=key_of(STEP, database, password_versions),
        masking=Masking(()),  # the job prints no secret
        show=False,
        fresh=True,  # somebody may have changed the server since
    )
    if done.status != 0:
        lines = done.output.strip().splitlines() or [f"the job for it exited {done.status} and says nothing"]
        raise TargetError(
            f"{database['owner']} has no database yet, but the application needs it: {lines[-1]}"
        )


class OwnedDatabaseProvider(ResourceProvider):
    """Its id is that of the database in ARM."""

    serialize_as_secret_always = False  # pickled by reference: there is nothing in it

    def create(self, props: Properties) -> CreateResult:
        return CreateResult(props["database"], self._make(props))

    def update(self, _id: str, _olds: Properties, _news: Properties) -> UpdateResult:
        return UpdateResult(self._make(_news))

    def diff(self, _id: str, _olds: Properties, _news: Properties) -> DiffResult:
        """The image and the facts say how it is made, not what: of them no change makes it again."""
        changed = {name for name in INPUTS[:3] if _olds.get(name) != _news[name]}
        return DiffResult(changes=bool(changed), replaces=["database"] if "database" in changed else [])

    def delete(self, _id: str, _props: Properties) -> None:
        """Data go with their server, and not before."""

    def _make(self, props: Properties) -> Properties:
        with in_one_line(TargetError):
            make(
                json.loads(props["facts"]), image=props["image"], password_versions=props["password_versions"]
            )
        return {name: props[name] for name in INPUTS}


class OwnedDatabase(Resource, module="relevo", name="OwnedDatabase"):
    def __init__(
        self,
        name: str,
        *,
        database: str,
        user: str,
        password_versions: Mapping[Login, pulumi.Input[str]],
        image: pulumi.Input[str],
        facts: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(
            OwnedDatabaseProvider(),
            name,
            {
                "database": database,
                "user": user,
                "password_versions": password_versions,
                "image": image,
                "facts": facts,
            },
            opts,
        )
