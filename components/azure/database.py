"""The database of a stack: a PostgreSQL flexible server inside the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pulumi
from pulumi_azure_native import dbforpostgresql as postgres

from components.azure import sizing
from components.azure.database_server import Found
from components.azure.diagnostics import diagnostics
from components.azure.generated import Generated
from components.azure.guard import guarded
from components.azure.image import CERTIFICATES
from components.azure.logins import LOGINS, Login, password_secret, role_name, url_secret
from components.azure.naming import Names
from components.azure.place import Place
from components.azure.vault import Vault, stored_version

PORT = 5432
ADMINISTRATOR = "relevo_administrator"

# "Server parameters in Azure Database for PostgreSQL": all of them take effect without a restart; connections
# and their ends are logged by every server, and cannot be set. Statements are logged for changes of the
# schema only, since others carry personal data. pgaudit needs a library that is loaded at a restart, which a
# declaration cannot ask for; what people did is in the application's audit log.
PARAMETERS: Mapping[str, str] = {
    "require_secure_transport": "on",
    "ssl_min_protocol_version": "TLSv1.2",
    "connection_throttle.enable": "on",
    "log_checkpoints": "on",
    "log_lock_waits": "on",
    "log_statement": "ddl",
}

HighAvailability = Literal["Disabled", "SameZone", "ZoneRedundant"]


def host(names: Names) -> str:
    """The server's public name; inside the network it leads to its private address."""
    return f"{names.of('psql')}.postgres.database.azure.com"


@dataclass(frozen=True, kw_only=True)
class Administrator:
    """Who administers the database with a token of Microsoft Entra ID instead of a password.

    `name`: as in Entra; the database role is called so. `key`: part of the Pulumi name, known in a preview.
    """

    key: str
    object_id: pulumi.Input[str]
    name: pulumi.Input[str]
    type: Literal["User", "Group", "ServicePrincipal"]


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """`user`: the role that owns all of the application's. `login`: by which of its two it comes.

    `max_connections`: None leaves what the size gives; a change takes effect at the server's next restart.
    Geo-redundant backup is decided at the creation, and so is `zone`. `server`: what is there by now.
    """

    place: Place
    sku: str  # such as "Standard_D2ds_v5"
    storage_gb: int
    version: str  # major, e.g. "17"
    ha: HighAvailability
    zone: str
    geo_backup: bool
    retention_days: int  # 7 to 35, of point-in-time restore
    name: str
    user: str
    login: Login
    administrators: Sequence[Administrator]
    max_connections: int | None
    subnet_id: pulumi.Input[str]
    zone_id: pulumi.Input[str]
    workspace_id: pulumi.Input[str]
    vault: Vault
    server: Found | None = None

    @property
    def zones(self) -> tuple[str | None, str | None]:
        """Of the server and of its standby."""
        if self.server is not None and self.server.ha == self.ha:
            return self.server.zone, self.server.standby
        zone = self.zone if self.server is None else self.server.zone
        if not self.place.zones or zone is None:
            return None, None
        if self.ha == "ZoneRedundant":
            return zone, next(other for other in self.place.zones if other != zone)
        return zone, zone if self.ha == "SameZone" else None


class Database(pulumi.ComponentResource):
    """Without a public address, over TLS only.

    The application logs in with a password, since Django's database URL needs one, by one of two roles, so
    that the password of the other can be replaced: made here, kept in the vault, and given to the roles by a
    job. That makes the database as well (database_role.py),
    since one that ARM makes belongs to the built-in administrator, whom Azure asks for and whose password
    nobody is given. The other administrators, and the jobs, come with tokens of Microsoft Entra ID.
    """

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:Database", name, None, opts)
        self._args = args
        place = args.place
        zone, standby = args.zones
        administrator = Generated(f"{name}-administrator-value", self, protect=place.guard)
        server = postgres.Server(
            f"{name}-server",
            server_name=place.names.of("psql"),
            resource_group_name=place.resource_group,
            location=place.location,
            version=args.version,
            sku=postgres.SkuArgs(name=args.sku, tier=sizing.server_size(args.sku).tier),
            storage=postgres.StorageArgs(
                storage_size_gb=max(args.storage_gb, args.server.storage_gb if args.server else 0),
                auto_grow=postgres.StorageAutoGrow.ENABLED,
                # The newer kind has no on-demand backups ("Backup and restore").
                type=postgres.StorageType.PREMIUM_LRS,
            ),
            administrator_login=ADMINISTRATOR,
            administrator_login_password=administrator.value,
            auth_config=postgres.AuthConfigArgs(
                active_directory_auth=postgres.MicrosoftEntraAuth.ENABLED,
                password_auth=postgres.PasswordBasedAuth.ENABLED,
                tenant_id=place.tenant,
            ),
            network=postgres.NetworkArgs(
                delegated_subnet_resource_id=args.subnet_id,
                private_dns_zone_arm_resource_id=args.zone_id,
                public_network_access=postgres.ServerPublicNetworkAccessState.DISABLED,
            ),
            availability_zone=zone,
            high_availability=postgres.HighAvailabilityArgs(mode=args.ha, standby_availability_zone=standby),
            backup=postgres.BackupArgs(
                backup_retention_days=args.retention_days,
                geo_redundant_backup=(
                    postgres.GeographicallyRedundantBackup.ENABLED
                    if args.geo_backup
                    else postgres.GeographicallyRedundantBackup.DISABLED
                ),
            ),
            # Sundays from 3:00 in the server's region.
            maintenance_window=postgres.MaintenanceWindowArgs(
                custom_window="Enabled", day_of_week=0, start_hour=3, start_minute=0
            ),
            tags=place.tags,
            opts=guarded(self, place),
        )
        self._server = server
        self._administer()
        diagnostics(self, f"{name}-diagnostics", server.id, args.workspace_id)

        self.server_id = server.id
        self.host = host(place.names)
        self.name = args.name
        self.user = role_name(args.user, args.login)
        self.secret_versions: dict[Login, pulumi.Output[str]] = {
            login: self._secrets(login) for login in LOGINS
        }
        self.register_outputs(
            {"server_id": self.server_id, "host": self.host, "name": self.name, "user": self.user}
        )

    def _administer(self) -> None:
        """Parameters and administrators, in turn: a server takes one change at a time."""
        args, name, before = self._args, self.pulumi_resource_name, list[pulumi.Resource]()

        def next_one() -> pulumi.ResourceOptions:
            return pulumi.ResourceOptions(parent=self, depends_on=before[-1:])

        connections = {} if args.max_connections is None else {"max_connections": str(args.max_connections)}
        for parameter, value in {**PARAMETERS, **connections}.items():
            before.append(
                postgres.Configuration(
                    f"{name}-{parameter.replace('.', '-').replace('_', '-')}",
                    configuration_name=parameter,
                    server_name=self._server.name,
                    resource_group_name=args.place.resource_group,
                    source="user-override",
                    value=value,
                    opts=next_one(),
                )
            )
        for administrator in args.administrators:
            before.append(
                postgres.AdministratorsMicrosoftEntra(
                    f"{name}-administrator-{administrator.key}",
                    object_id=administrator.object_id,
                    principal_name=administrator.name,
                    principal_type=administrator.type,
                    tenant_id=args.place.tenant,
                    server_name=self._server.name,
                    resource_group_name=args.place.resource_group,
                    opts=next_one(),
                )
            )

    def _secrets(self, login: Login) -> pulumi.Output[str]:
        """Of one login: its password and URL in the vault; the version of the latter."""
        args, name = self._args, self.pulumi_resource_name
        user = role_name(args.user, login)
        # What nobody uses may be replaced at any time.
        in_use = args.place.guard and login == args.login
        password = Generated(f"{name}-password-{login}-value", self, protect=in_use)
        url = password.value.apply(
            # Its alphabet needs no quoting. The certificate is verified, as by our own jobs (environment.py).
            lambda value: (
                f"postgres://{user}:{value}@{self.host}:{PORT}/{args.name}"
                f"?sslmode=verify-full&sslrootcert={CERTIFICATES}"
            )
        )
        stored = [
            args.vault.store(
                self,
                f"{name}-{role}-{login}",
                secret,
                value,
                since=password.since,
                rotation="relevo:azure.database.login, see Rotating secrets in docs/azure.md",
            )
            for role, secret, value in (
                ("password", password_secret(login), password.value),
                ("url", url_secret(login), url),
            )
        ]
        return stored_version(stored[-1])
