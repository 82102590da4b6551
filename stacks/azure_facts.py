"""What the release must know of a stack on Azure: what its names alone tell, and what only Azure does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from components.azure import app as sites
from components.azure import cache as redis
from components.azure import database, storage
from components.azure.environment import libpq
from components.azure.jobs import KINDS, job_name
from components.azure.logins import role_name
from components.azure.origins import GROUP
from components.azure.place import Place
from components.azure.registry import server
from components.azure.vault import uri
from stacks import azure_rules
from stacks.settings import Settings


def known(stack: str, settings: Settings, place: Place) -> dict[str, Any]:
    """What the release must know of the target, as far as names and settings alone tell it."""
    azure, names, app = settings.azure, place.names, settings.app
    assert azure is not None
    sized = azure_rules.capacity(settings, azure)
    return {
        "stack": stack,
        "subscription": place.subscription,
        "tenant": place.tenant,
        "resource_group": names.of("rg"),
        "resource_manager": azure.resource_manager,
        "registry": {"server": server(names), "repository": names.workload},
        "vault": {"uri": uri(names)},
        "secrets": {name: secret.model_dump() for name, secret in settings.secrets.items()},
        "database": {
            "server": names.of("psql"),
            "host": database.host(names),
            "port": database.PORT,
            "name": settings.database.name,
            "user": role_name(settings.database.user, azure.database.login),
            "owner": settings.database.user,
            "login": azure.database.login,
            "administrator": names.of("id", "jobs"),  # as the jobs come to it
            "major": int(azure.database.version),
        },
        "cache": {"host": redis.host(names, place.location), "port": redis.PORT},
        "storage": {
            "account": names.of("st"),
            "blob_host": storage.blob_host(names),
            "media": storage.MEDIA,
            "static": storage.STATIC,
            "backups": storage.BACKUPS,
            "logbook": storage.LOGBOOK,
            "lock": storage.LOCK,
            "pages": storage.PAGES,
        },
        "front_door": {
            "profile": names.of("afd"),
            "origin_group": GROUP,
            "origins": {name: name for name in settings.instance_names},
        },
        "sites": {
            **{
                name: {
                    "name": sites.site_name(place.names, name, location, first=place.location),
                    "host": sites.site_host(place, name, location),
                }
                for name, location in sites.spread(settings.instance_names, azure.locations).items()
            },
            **{
                name: {"name": sites.process_name(names, name), "host": None, "verify_url": None}
                for name in app.processes
            },
        },
        "jobs": {kind: job_name(names, kind) for kind in KINDS},
        "app": {
            **app.model_dump(
                mode="json", include={"settings", "wsgi", "asgi", "environment", "secret_key", "worker_class"}
            ),
            "probe": app.probe.model_dump(mode="json"),
            "workers": sized.workers,
            "threads": sized.threads,
        },
        "processes": {name: process.model_dump(mode="json") for name, process in app.processes.items()},
        "limits": settings.limits.model_dump(),
        "backup": {
            **settings.backup.model_dump(exclude={"drill"}),
            "on_demand": azure.database.on_demand_backup,
        },
    }


def complete(known: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """The facts, with what only Azure tells: ids of identities, and the hosts that Front Door gives."""
    verify = {
        name: {**known["sites"][name], "verify_url": f"https://{host}"}
        for name, host in made["verify_hosts"].items()
    }
    return {
        **known,
        "image": made["image"],
        "public_host": made["public_host"],
        "public_url": f"https://{made['public_host']}",
        "front_door": {**known["front_door"], "endpoint": made["endpoint_host"]},
        "sites": {**known["sites"], **verify},
        "identity": made["identities"],
        "workspace": made["workspace"],
        # Read by no step: a replaced secret is a reason to release again.
        "secret_versions": made["secret_versions"],
    }


def dump_environment(known: Mapping[str, Any], client_id: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
    """Of the scheduled dump, as `AzureOperations` gives it to that of a release."""
    blobs = known["storage"]
    return {
        "AZURE_CLIENT_ID": client_id,
        **libpq(known["database"]),
        "RELEVO_BLOBS": blobs["blob_host"],
        "RELEVO_BACKUPS": blobs["backups"],
        "RELEVO_MEDIA": blobs["media"],
    }


def review_environment(
    known: Mapping[str, Any], client_id: pulumi.Input[str]
) -> dict[str, pulumi.Input[str]]:
    """Of the scheduled review, which finds all else in what a release has handed over."""
    return {
        "AZURE_CLIENT_ID": client_id,
        "RELEVO_BLOBS": known["storage"]["blob_host"],
        "RELEVO_LOGBOOK": known["storage"]["logbook"],
    }
