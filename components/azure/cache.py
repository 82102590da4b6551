"""The cache of a stack: Azure Managed Redis, reachable from inside the network."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

import pulumi
from pulumi_azure_native import redisenterprise

from components.azure.diagnostics import diagnostics
from components.azure.generated import InUse
from components.azure.naming import Names
from components.azure.place import Place
from components.azure.private_endpoint import private_endpoint
from components.azure.secret_names import CACHE_PASSWORD, CACHE_URL
from components.azure.vault import Vault, stored_version

PORT = 10000


def host(names: Names, location: str) -> str:
    """E.g. "amr-assets-prod.westeurope.redis.azure.net" ("Azure Managed Redis: connect")."""
    return f"{names.of('amr')}.{location}.redis.azure.net"


@dataclass(frozen=True, kw_only=True)
class CacheArgs:
    """`sku` such as "Balanced_B0". `replicated`: on two nodes; on one there is no service agreement.

    `key`: which of its two access keys is in use.
    """

    place: Place
    sku: str
    replicated: bool
    key: Literal["primary", "secondary"]
    endpoints_subnet_id: pulumi.Input[str]
    zone_id: pulumi.Input[str]
    workspace_id: pulumi.Input[str]
    vault: Vault


class Cache(pulumi.ComponentResource):
    """One shard, TLS only, no disk: a cache is filled again.

    - Django and Celery speak to a single server, as only the policy NoCluster gives; it takes up to 25 GB
      ("Azure Managed Redis architecture").
    - Keys without an end, such as the messages of a task queue, are never evicted for those that have one.
    - Their clients log in by a URL, so an access key is on; it is kept in the vault only.
    """

    def __init__(self, name: str, args: CacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:Cache", name, None, opts)
        place = args.place
        cluster = redisenterprise.RedisEnterprise(
            f"{name}-cluster",
            cluster_name=place.names.of("amr"),
            resource_group_name=place.resource_group,
            location=place.location,
            sku=redisenterprise.SkuArgs(name=args.sku),
            high_availability=(
                redisenterprise.HighAvailability.ENABLED
                if args.replicated
                else redisenterprise.HighAvailability.DISABLED
            ),
            minimum_tls_version=redisenterprise.TlsVersion.TLS_VERSION_1_2,
            public_network_access=redisenterprise.PublicNetworkAccess.DISABLED,
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        database = redisenterprise.Database(
            f"{name}-database",
            cluster_name=cluster.name,
            database_name="default",
            resource_group_name=place.resource_group,
            port=PORT,
            client_protocol=redisenterprise.Protocol.ENCRYPTED,
            clustering_policy=redisenterprise.ClusteringPolicy.NO_CLUSTER,
            eviction_policy=redisenterprise.EvictionPolicy.VOLATILE_LRU,
            access_keys_authentication=redisenterprise.AccessKeysAuthentication.ENABLED,
            opts=pulumi.ResourceOptions(parent=self),
        )
        private_endpoint(
            self,
            f"{name}-endpoint",
            place,
            args.endpoints_subnet_id,
            cluster.id,
            "redisEnterprise",
            args.zone_id,
        )
        # Metrics are the cluster's, the log of connections is the database's.
        diagnostics(self, f"{name}-cluster-diagnostics", cluster.id, args.workspace_id, logs=False)
        diagnostics(self, f"{name}-database-diagnostics", database.id, args.workspace_id, metrics=())

        self.id = cluster.id
        self.host = host(place.names, place.location)
        self.port = PORT
        keys = redisenterprise.list_database_keys_output(
            cluster_name=cluster.name,
            database_name=database.name,
            resource_group_name=place.resource_group,
            opts=pulumi.InvokeOutputOptions(parent=self),
        )
        key = pulumi.Output.secret(keys.primary_key if args.key == "primary" else keys.secondary_key)
        url = key.apply(
            lambda value: f"rediss://:{quote(value, safe='')}@{self.host}:{PORT}/0?ssl_cert_reqs=required"
        )
        in_use = InUse(
            f"{name}-key", self, key.apply(lambda value: hashlib.sha256(value.encode()).hexdigest())
        )
        stored = [
            args.vault.store(
                self,
                f"{name}-{role}",
                secret,
                value,
                since=in_use.since,
                rotation="relevo:azure.cache.key, see Rotating secrets in docs/azure.md",
            )
            for role, secret, value in (("password", CACHE_PASSWORD, key), ("url", CACHE_URL, url))
        ]
        self.secret_version = stored_version(stored[-1])  # a new key is a reason to release
        self.register_outputs({"id": self.id, "host": self.host, "port": self.port})
