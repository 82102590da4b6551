"""Web Apps for Containers: what is put on an instance, and what its workers say that they run."""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from components.azure import image as layout
from components.azure.container_log import Log
from components.azure.environment import Environment, written
from components.azure.faults import asking
from components.azure.login import Clients
from components.azure.waiting import until
from components.azure.words import word
from components.capacity import GRACEFUL_SECONDS
from components.target import Deployment, TargetError

FRESH_SECONDS = 3.0  # a gate asks ten times a second; ARM is asked less often
RESOLVED, PENDING = "Resolved", ("Initialized", "FetchTimedOut")
LONGEST_START_SECONDS = 1800  # WEBSITES_CONTAINER_START_TIME_LIMIT
LONGEST_STOP_SECONDS = 120  # WEBSITES_CONTAINER_STOP_TIME_LIMIT


def new_start() -> str:
    """Names one replacing, so that its log lines are told from those of any other; begins with its time."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}Z-{secrets.token_hex(4)}"


def platform_settings(*, warmup_path: str, warmup_status: int, start_limit: float) -> dict[str, str]:
    """What App Service itself reads ("Environment variables and app settings in Azure App Service")."""
    return {
        "WEBSITES_PORT": str(layout.PORT),
        "WEBSITES_ENABLE_APP_SERVICE_STORAGE": "false",
        # Without these any answer counts as a good one, also an error.
        "WEBSITE_WARMUP_PATH": warmup_path,
        "WEBSITE_WARMUP_STATUSES": str(warmup_status),
        "WEBSITES_CONTAINER_START_TIME_LIMIT": str(int(min(start_limit, LONGEST_START_SECONDS))),
        # Five seconds by default, in which no long request ends.
        "WEBSITES_CONTAINER_STOP_TIME_LIMIT": str(min(GRACEFUL_SECONDS + 5, LONGEST_STOP_SECONDS)),
    }


@dataclass(frozen=True)
class View:
    """One site at one moment."""

    running: bool
    image: str  # linuxFxVersion
    settings: Mapping[str, str]
    workers: tuple[str, ...]
    log: Log
    references: Mapping[str, str]  # setting → status of its Key Vault reference

    @property
    def asked(self) -> Deployment | None:
        """What was put there last; None if nothing ever was."""
        try:
            return Deployment(
                image=self.settings["RELEVO_IMAGE"],
                version=self.settings["RELEVO_VERSION"],
                release=self.settings["RELEVO_RELEASE_ID"],
            )
        except KeyError:
            return None

    @property
    def start(self) -> str:
        return self.settings.get("RELEVO_START", "")

    def per_worker(self) -> dict[str, Deployment | None]:
        """What each worker has started for this replacing; None: nothing yet, or something of another one."""
        found: dict[str, Deployment | None] = {}
        for worker in self.workers:
            begun = self.log.starts.get(worker)
            found[worker] = begun[0].deployment if begun and begun[0].start == self.start else None
        return found

    def describe(self) -> str:
        """Who runs what, for whoever watches a roll."""
        if self.log.fault:
            return f"what cannot be read now ({self.log.fault})"
        parts = []
        for worker in self.workers:
            begun = self.log.starts.get(worker)
            runs = f"{begun[0].version} of {begun[0].release}" if begun else "nothing yet"
            parts.append(f"{worker[:8]} {runs}")
        return ", ".join(parts) or "no worker"


class Sites:
    """`names`: instance → the site's name in the resource group."""

    def __init__(self, clients: Clients, *, group: str, names: Mapping[str, str], vault_uri: str) -> None:
        self._clients = clients
        self._group = group
        self._names = names
        self._vault_uri = vault_uri
        self._views: dict[str, tuple[float, View]] = {}
        self._told: dict[str, str] = {}

    def replace(self, name: str, *, image: str, command: Sequence[str], environment: Environment) -> None:
        """Image, settings and start command in one request, which is one restart. Raises `TargetError`."""
        from azure.mgmt.web import models

        site = self._names[name]
        settings = written(environment, self._vault_uri)
        config = models.SiteConfig(
            linux_fx_version=f"DOCKER|{image}",
            app_command_line=shlex.join(command),
            app_settings=[models.NameValuePair(name=key, value=value) for key, value in settings.items()],
        )
        patch = models.SitePatchResource(properties=models.SitePatchResourceProperties(site_config=config))
        with asking(f"put {image} on the site {site}"):
            self._web.update(self._group, site, patch)
            self._web.start(self._group, site)  # it may have been withdrawn; a running one takes no notice
        self._views.pop(name, None)
        self._expect(site, config, settings)

    def stop(self, name: str, *, timeout: float) -> None:
        site = self._names[name]
        with asking(f"stop the site {site}"):
            self._web.stop(self._group, site)
        self._views.pop(name, None)
        until(
            lambda: None if self._running(site) else True,
            timeout=timeout,
            limit="relevo:limits.readySeconds",
            fault=lambda: f"the site {site} does not stop",
        )

    def view(self, name: str) -> View:
        """At most some seconds old."""
        at, view = self._views.get(name, (0.0, None))
        if view is None or time.monotonic() - at > FRESH_SECONDS:
            view = self._look(self._names[name])
            self._views[name] = (time.monotonic(), view)
        return view

    def deployed(self, name: str) -> Deployment | None:
        """What all its workers have started for the last replacing; None while they differ, which is told."""
        view = self.view(name)
        found = set(view.per_worker().values())
        if len(found) == 1 and None not in found:
            self._told.pop(name, None)
            return found.pop()
        if view.describe() != self._told.get(name):
            self._told[name] = view.describe()
            print(f"{name}: its workers run {view.describe()}", flush=True)
        return None

    def startup_errors(self, name: str) -> list[str]:
        view = self.view(name)
        broken = [
            f"{setting} has no value from the vault ({status})"
            for setting, status in view.references.items()
            if status != RESOLVED and status not in PENDING
        ]
        return [*broken, *(view.log.errors(view.start) if view.start else [])]

    def others(self) -> dict[str, str]:
        """Sites of the group that are no instance's → their hosts."""
        with asking(f"list the sites of {self._group}"):
            listed = list(self._web.list_by_resource_group(self._group))
        known = set(self._names.values())
        return {site.name: site.properties.default_host_name for site in listed if site.name not in known}

    def require_resolved(self, name: str, *, timeout: float) -> None:
        """Before it gets traffic. Raises `TargetError` with the setting whose secret it could not read."""
        site = self._names[name]

        waited: list[str] = []  # what App Service has not read yet

        def resolved() -> bool | None:
            waited.clear()
            for setting, status in sorted(self._references(site).items()):
                if status in PENDING:
                    waited.append(f"{setting} of {name} is a Key Vault reference in the state {status}")
                elif status != RESOLVED:
                    raise TargetError(
                        f"{setting} of {name} is a Key Vault reference in the state {status}, but traffic "
                        f"needs it Resolved; see whether the secret exists and the identity of {site} may "
                        f"read it."
                    )
            return None if waited else True

        until(
            resolved,
            timeout=timeout,
            limit="relevo:limits.readySeconds",
            fault=lambda: waited[0],
        )

    # -- inside ----------------------------------------------------------------------------------------
    @property
    def _web(self) -> Any:
        return self._clients.web.web_apps

    def _look(self, site: str) -> View:
        with asking(f"read the site {site}"):
            config = self._web.get_configuration(self._group, site)
            settings = self._web.list_application_settings(self._group, site)
            workers = [worker.name for worker in self._web.list_instance_identifiers(self._group, site)]
        return View(
            running=self._running(site),
            image=config.properties.linux_fx_version or "",
            settings=dict(settings.properties or {}),
            workers=tuple(sorted(workers)),
            log=self._log(site),
            references=self._references(site),
        )

    def _log(self, site: str) -> Log:
        """Empty where Azure has none to give right now: the gate asks again, for as long as it may."""
        from azure.core.exceptions import HttpResponseError, IncompleteReadError

        with asking(f"read the log of the site {site}"):
            try:
                return Log.of(b"".join(self._web.get_container_logs_zip(self._group, site) or ()))
            except IncompleteReadError:
                return Log(fault="the archive of its log ends too early")
            except HttpResponseError as error:
                status = error.status_code or 0
                if status != 404 and status < 500:
                    raise
                return Log(fault=f"Azure answers {status} to who asks for its log")

    def _running(self, site: str) -> bool:
        with asking(f"read the site {site}"):
            state = word(self._web.get(self._group, site).properties.state)
        if state not in ("Running", "Stopped"):
            raise TargetError(
                f"the site {site} is {state}, but only Running and Stopped are known; see it in the portal."
            )
        return state == "Running"

    def _references(self, site: str) -> dict[str, str]:
        with asking(f"read the Key Vault references of the site {site}"):
            found = list(self._web.get_app_settings_key_vault_references(self._group, site))
        return {each.name: word(each.properties.status) if each.properties else "unknown" for each in found}

    def _expect(self, site: str, config: Any, settings: Mapping[str, str]) -> None:
        """That ARM took all three: what it leaves out in silence would start the old release again."""
        with asking(f"read the site {site}"):
            found = self._web.get_configuration(self._group, site).properties
            has = dict(self._web.list_application_settings(self._group, site).properties or {})
        wrong = [
            what
            for what, taken in (
                ("linuxFxVersion", found.linux_fx_version == config.linux_fx_version),
                ("appCommandLine", found.app_command_line == config.app_command_line),
                ("appSettings", has == settings),
            )
            if not taken
        ]
        if wrong:
            raise TargetError(
                f"the site {site} has another {' and another '.join(wrong)} than it was just given, but a "
                f"release sets all three; see who else changes it, and run pulumi up again."
            )
