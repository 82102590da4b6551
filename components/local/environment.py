"""The environment of a project's processes: the stack's map of templates, filled with the target's facts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from components.local import vault
from components.local.server import Server
from components.target import Deployment, TargetError
from components.templates import TOKEN, variables

HOST = "127.0.0.1"

Secret = Callable[[str], str]


def base_environment() -> dict[str, str]:
    """All that a process of the target inherits from whoever started the command."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "TZ": os.environ.get("TZ", "UTC"),
    }


def resolve(template: str, lookup: Callable[[str], str]) -> str:
    """`template` with each `{placeholder}` looked up; `{{` and `}}` are literal braces."""

    def replace(match: re.Match[str]) -> str:
        token = match.group(0)
        return token[0] if token in ("{{", "}}") else lookup(match.group(1))

    return TOKEN.sub(replace, template)


def placeholders(
    facts: Mapping[str, Any],
    *,
    name: str,
    deployment: Deployment,
    static_root: str,
    media_root: str,
    secret: Secret,
) -> Callable[[str], str]:
    """How each placeholder is looked up; secrets are read only when asked for."""
    ports, database, server = facts["ports"], facts["database"], Server.of(facts)
    database_password = server.secret_of(database["user"])

    def database_url() -> str:
        password = quote(secret(database_password), safe="")
        return f"postgres://{database['user']}:{password}@{server.address}/{database['name']}"

    def cache_url(user: str, password: str) -> str:
        return f"redis://{user}:{quote(secret(password), safe='')}@{HOST}:{ports['cache']}/0"

    values: dict[str, Callable[[], str]] = {
        "database.url": database_url,
        "database.host": lambda: server.host,
        "database.port": lambda: str(server.port),
        "database.name": lambda: database["name"],
        "database.user": lambda: database["user"],
        "database.password": lambda: secret(database_password),
        "cache.url": lambda: cache_url("app", vault.CACHE_APP),
        "cache.host": lambda: HOST,
        "cache.port": lambda: str(ports["cache"]),
        "cache.user": lambda: "app",
        "cache.password": lambda: secret(vault.CACHE_APP),
        "cache.readonly.url": lambda: cache_url("reader", vault.CACHE_READER),
        "cache.readonly.user": lambda: "reader",
        "cache.readonly.password": lambda: secret(vault.CACHE_READER),
        "public.url": lambda: f"http://{HOST}:{ports['public']}",
        "public.host": lambda: HOST,
        "public.port": lambda: str(ports["public"]),
        "release.id": lambda: deployment.release,
        "release.version": lambda: deployment.version,
        "release.image": lambda: deployment.image,
        "instance.name": lambda: name,
        "instance.host": lambda: HOST,
        "instance.verify.host": lambda: HOST,
        "static.root": lambda: static_root,
        "media.root": lambda: media_root,
        "insights.connection": lambda: "",
    }

    def lookup(placeholder: str) -> str:
        if placeholder.startswith("secret."):
            return secret(placeholder.removeprefix("secret."))
        if placeholder not in values:
            raise TargetError(
                f"the environment uses {{{placeholder}}}, but only {{secret.NAME}} and "
                f"{', '.join(values)} are accepted; correct it."
            )
        return values[placeholder]()

    return lookup


def process_environment(
    facts: Mapping[str, Any],
    *,
    process: str,
    name: str,
    marker: str,
    deployment: Deployment,
    environment_folder: str,
    base: Mapping[str, str],
    static_root: str,
    media_root: str,
    secret: Secret,
) -> dict[str, str]:
    """All that a process of the project finds in its environment. `environment_folder`: its Python's."""
    lookup = placeholders(
        facts, name=name, deployment=deployment, static_root=static_root, media_root=media_root, secret=secret
    )
    server = Server.of(facts)
    return {
        **base,
        **(server.tls_variables() if server.existing else {}),
        **{variable: resolve(template, lookup) for variable, template in variables(facts, process).items()},
        "PATH": f"{environment_folder}/bin:{base['PATH']}",
        "DJANGO_SETTINGS_MODULE": facts["app"]["settings"],
        "PYTHONUNBUFFERED": "1",
        "SPT_NOENV": "1",  # setproctitle would overwrite the environment by which the process is recognised
        "RELEVO_RELEASE_ID": deployment.release,
        "RELEVO_VERSION": deployment.version,
        "RELEVO_IMAGE": deployment.image,
        "RELEVO_INSTANCE": name,
        "RELEVO_PROGRAM": marker,
    }
