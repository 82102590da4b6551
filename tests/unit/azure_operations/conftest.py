"""Operations of a small stack on the stand-in: two instances of two workers each, and a worker process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from components.azure import jobs_run, login, rotation, sites, waiting
from components.azure.artefacts import pack
from components.azure.operations import AzureOperations
from components.azure.secret_names import OWN
from components.release import gate
from components.release.manifest import Check, Manifest, Migration
from tests.azure.arm_stand_in import SUBSCRIPTION, TENANT, ArmStandIn

NUMBERS = itertools.count()
VERSION_1 = Manifest(
    version="v1",
    revision="1" * 40,
    built_at="2026-11-24T12:00:00+00:00",
    lock=f"sha256:{'a' * 64}",
    python="3.11",
    migrations=(
        Migration(app="site", name="0001", effect="additive", reversible=True, operations=("CreateModel",)),
    ),
    heads={"site": ("0001",)},
    pipeline=(Check(name="tests", passed=True),),
)
VERSION_2 = replace(VERSION_1, version="v2", revision="2" * 40)


def labels(manifest: Manifest) -> dict[str, str]:
    return {
        "dev.relevo.manifest": pack(manifest),
        "dev.relevo.lock": manifest.lock,
        "org.opencontainers.image.version": manifest.version,
        "org.opencontainers.image.revision": manifest.revision,
    }


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArmStandIn]:
    with ArmStandIn(tmp_path_factory.mktemp("azure")) as azure:
        yield azure


@pytest.fixture
def azure(standing: ArmStandIn, monkeypatch: pytest.MonkeyPatch) -> ArmStandIn:
    """With little pause between two questions, since the stand-in counts questions and not seconds."""
    standing.reset()
    for name, value in standing.environment().items():
        monkeypatch.setenv(name, value)
    for module in (waiting, jobs_run, rotation):
        monkeypatch.setattr(module, "PAUSE", 0.02)
    monkeypatch.setattr(
        waiting.until, "__kwdefaults__", {**(waiting.until.__kwdefaults__ or {}), "pause": 0.02}
    )
    monkeypatch.setattr(sites, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(login, "POLLING", 0.02)
    monkeypatch.setattr(rotation, "BETWEEN", 0.01)
    monkeypatch.setattr(gate, "STEADY_SECONDS", 0.2)
    standing.vault = {name: f"value-of-{name}" for name in (*OWN, "secret-key", "mail-password")}
    for number in (1, 2):
        site = standing.site(f"app-assets-test-{number}")
        standing.origin(
            f"instance-{number}",
            instance=f"instance-{number}",
            site=site.name,
            host=f"{site.name}.azurewebsites.net",
        )
    standing.container_app("ca-assets-test-worker")
    standing.job("caj-manage")
    standing.job("caj-backup")
    return standing


@pytest.fixture
def images(azure: ArmStandIn) -> list[str]:
    """v1 and v2 in the registry."""
    return [f"assets@{azure.image(labels(manifest))}" for manifest in (VERSION_1, VERSION_2)]


@pytest.fixture
def facts(azure: ArmStandIn, images: list[str]) -> dict[str, Any]:
    from components.azure.login import blobs

    number = next(NUMBERS)
    host = f"{azure.azurite.account}.blob.core.windows.net"
    roles = ("media", "static", "backups", "logbook", "lock", "pages")
    containers = {role: f"{role}-{number}" for role in roles}
    for container in containers.values():
        blobs(host).create_container(container)
    return {
        "stack": "test",
        "subscription": SUBSCRIPTION,
        "tenant": TENANT,
        "resource_group": "rg-assets-test",
        "resource_manager": "https://management.azure.com",
        "public_url": azure.public_url,
        "public_host": "assets.example",
        "image": images[1],
        "registry": {"server": "crassetstest.azurecr.io", "repository": "assets"},
        "vault": {"uri": "https://kv-assets-test.vault.azure.net"},
        "secrets": {"SECRET_KEY": {"generate": True}, "MAIL_PASSWORD": {"generate": False}},
        "secret_versions": {},
        "database": {
            "server": "psql-assets-test",
            "host": "psql-assets-test.postgres.database.azure.com",
            "port": 5432,
            "name": "assets",
            "user": "assets_a",
            "owner": "assets",
            "login": "a",
            "administrator": "id-assets-test-jobs",
            "major": 17,
        },
        "cache": {"host": "amr-assets-test.westeurope.redis.azure.net", "port": 10000},
        "storage": {"account": azure.azurite.account, "blob_host": host, **containers},
        "front_door": {
            "profile": "afd-assets-test",
            "origin_group": "app",
            "endpoint": "fde-assets-test.z01.azurefd.net",
            "origins": {name: name for name in azure.origins},
        },
        "sites": {
            **{
                f"instance-{number}": {
                    "name": f"app-assets-test-{number}",
                    "host": f"app-assets-test-{number}.azurewebsites.net",
                    "verify_url": f"{azure.public_url}/verify/instance-{number}",
                }
                for number in (1, 2)
            },
            "worker": {"name": "ca-assets-test-worker", "host": None, "verify_url": None},
        },
        "identity": {
            "app": {"client_id": "of-app", "id": "/app"},
            "jobs": {"client_id": "of-jobs", "id": "/jobs"},
        },
        "jobs": {"manage": "caj-manage", "backup": "caj-backup"},
        "workspace": "44444444-4444-4444-8444-444444444444",
        "app": {
            "settings": "site.settings",
            "wsgi": "site.wsgi",
            "asgi": None,
            "environment": {
                "SECRET_KEY": "{secret.SECRET_KEY}",
                "DATABASE_URL": "{database.url}",
                "HOST": "{public.host}",
            },
            "secret_key": "SECRET_KEY",
            "worker_class": None,
            "workers": 3,
            "threads": 4,
            "probe": {
                "path": "/health/",
                "status": 200,
                "headers": {},
                "release_header": "X-Release",
                "instance_header": "X-Instance",
                "timeout_seconds": 5.0,
            },
        },
        "processes": {
            "worker": {"command": ["celery", "-A", "site", "worker"], "environment": {"QUEUE": "all"}}
        },
        "limits": {"drain_seconds": 10.0, "ready_seconds": 10.0, "command_seconds": 15.0, "quiet_minutes": 0},
        "backup": {"keep": 10, "on_demand": True},
    }


@pytest.fixture
def operations(facts: dict[str, Any]) -> AzureOperations:
    return AzureOperations(facts)
