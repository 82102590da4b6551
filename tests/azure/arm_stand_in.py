"""A stand-in for Azure: ARM, the authority, the vault, the registry and the workspace behind one TLS proxy.

The real clients speak to it by the real host names: it is the HTTPS proxy of their environment, and ends TLS
with a certificate of its own authority. Hosts of blobs are passed on to Azurite. Every answer of ARM is built
from the models of azure-mgmt, which refuse a property that the API does not have.

    with ArmStandIn(folder) as azure:
        os.environ.update(azure.environment())
        azure.site("app-1", workers=2); azure.origin("instance-1", ...)    what exists
        azure.commands = lambda words: Command(["done"])                   what a job's command does
        azure.fail("PATCH", "/origins/instance-1", status=409)             the next such request fails
        azure.sites["app-1"].stale.add(...)                                a worker that does not restart
        azure.requests                                                     what was asked, in order

Nothing here waits for time: a site's worker restarts each time its log is asked for, an edge learns of a
change after so many requests.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import re
import secrets
import ssl
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import IPPROTO_TCP, SHUT_RDWR, TCP_NODELAY, create_connection
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import trustme
from azure.mgmt.appcontainers import models as apps
from azure.mgmt.cdn import models as cdn
from azure.mgmt.postgresqlflexibleservers import models as postgres
from azure.mgmt.web import models as web
from azure.storage.blob import BlobClient

from components.azure.words import word
from tests.azure import images
from tests.azure.azurite import KEY, Azurite

TENANT = "11111111-1111-4111-8111-111111111111"
SUBSCRIPTION = "22222222-2222-4222-8222-222222222222"
HOSTS = (
    "management.azure.com",
    "management.usgovcloudapi.net",
    "login.microsoftonline.com",
    "*.vault.azure.net",
    "*.azurecr.io",
    "*.blob.core.windows.net",
    "api.loganalytics.io",
    "*.z01.azurefd.net",
    "127.0.0.1",
)
TOKEN = "stand-in-token-that-nobody-may-print"
AUDIENCES = {"vault.azure.net": "https://vault.azure.net", "loganalytics.io": "https://api.loganalytics.io"}
CLEAN = ("[INFO] Starting gunicorn 23.0.0", "[INFO] Booting worker with pid: 7")


@dataclass
class Command:
    """What a job's command does: prints `lines`, waits for `hold`, ends with `status`.

    `lost`: the container goes without a word (no memory, no image), so that nothing says how it ended.
    """

    lines: Sequence[str] = ()
    status: int = 0
    hold: threading.Event | None = None
    lost: bool = False


@dataclass
class Execution:
    name: str
    template: apps.JobExecutionTemplate
    begun: datetime
    status: str = "Running"
    lines: list[str] = field(default_factory=list)

    @property
    def container(self) -> apps.JobExecutionContainer:
        assert self.template.containers
        return self.template.containers[0]

    @property
    def environment(self) -> dict[str, str]:
        return {str(each.name): str(each.value) for each in self.container.env or []}

    @property
    def words(self) -> list[str]:
        command = list(self.container.command or [])
        return command[command.index("--") + 1 :]


@dataclass
class Site:
    """`logs`: worker → its container's lines; `crashing`: image → lines of a start that fails."""

    name: str
    workers: list[str]
    state: str = "Running"
    image: str = ""
    command: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)
    crashing: dict[str, list[str]] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)  # setting → status, if not Resolved
    platform: list[str] = field(default_factory=list)
    built: str | None = None  # the version of the image that it starts, if not what it was given
    halves: int = 0  # so many archives of its log are half ones
    ignores: set[str] = field(default_factory=set)  # of linuxFxVersion, appSettings, appCommandLine
    logs: dict[str, list[str]] = field(default_factory=dict)
    _restarting: list[str] = field(default_factory=list)

    def put(self, config: web.SiteConfig) -> None:
        if config.linux_fx_version and "linuxFxVersion" not in self.ignores:
            self.image = config.linux_fx_version
        if config.app_settings is not None and "appSettings" not in self.ignores:
            self.settings = {str(each.name): str(each.value) for each in config.app_settings}
        if config.app_command_line is not None and "appCommandLine" not in self.ignores:
            self.command = config.app_command_line
        self._restarting = [worker for worker in self.workers if worker not in self.stale]

    def archive(self) -> bytes:
        """The log files; before, the next worker in the row restarts."""
        if self._restarting and self.state == "Running":
            self._start(self._restarting.pop(0))
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as files:
            for number, worker in enumerate(self.workers):
                text = "".join(f"{line}\n" for line in self.logs.get(worker, []))
                files.writestr(f"LogFiles/2026_11_24_lw{number}sdlwk_default_docker.log", text)
            files.writestr("LogFiles/2026_11_24_lw0sdlwk_docker.log", "\n".join(self.platform))
        return target.getvalue()

    def _start(self, worker: str) -> None:
        names = {"release": "RELEASE_ID", "image": "IMAGE", "version": "VERSION", "instance": "INSTANCE"}
        said = {key: self.settings.get(f"RELEVO_{name}", "") for key, name in names.items()}
        line = {"relevo": "started", **said, "worker": worker, "start": self.settings.get("RELEVO_START", "")}
        lines = [json.dumps(line), *self.crashing.get(said["image"], CLEAN)]
        if self.built not in (None, said["version"]):
            other = f"[CRITICAL] relevo: this image is {self.built}, but {said['version']} was asked for"
            lines = [json.dumps({**line, "version": self.built}), other]
        stamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"
        self.logs.setdefault(worker, []).extend(f"{stamp} {each}" for each in lines)

    def runs(self) -> str | None:
        """The version on its first worker."""
        for line in reversed(self.logs.get(self.workers[0], [])):
            if '"relevo"' in line:
                return json.loads(line.partition(" ")[2])["version"]
        return None


@dataclass
class Origin:
    """`at_edge`: what the edge still does; it learns of a change after `lag` public requests."""

    instance: str
    site: str
    host: str
    state: str = "Enabled"
    at_edge: bool = True
    lag: int = 0
    provisioning: int = 0  # so many reads until ARM says that a change is through
    fails: bool = False
    _behind: int = 0
    _reads: int = 0

    def set(self, state: str) -> None:
        self.state, self._behind, self._reads = state, self.lag, self.provisioning

    def asked(self) -> None:
        if self.at_edge != (self.state == "Enabled"):
            self._behind -= 1
            if self._behind < 0:
                self.at_edge = self.state == "Enabled"


@dataclass
class ContainerApp:
    name: str
    template: apps.Template
    revision: int = 1
    state: str = "Running"
    restarts: int = 0


@dataclass
class Failure:
    method: str
    match: str
    status: int
    code: str
    times: int
    done: bool
    message: str = "The stand-in was told to fail."


class ArmStandIn:
    """See the module. `account`: the storage account whose blobs Azurite has."""

    def __init__(self, folder: Path, *, account: str = "stassetstest") -> None:
        self.reset()
        authority = trustme.CA()
        issued = authority.issue_cert(*HOSTS)
        self.ca = folder / "stand-in-ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        chain, key = folder / "stand-in.pem", folder / "stand-in.key"
        for blob in issued.cert_chain_pems:
            blob.write_to_path(str(chain), append=True)
        issued.private_key_pem.write_to_path(str(key))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(self.tls)
        self.azurite = Azurite(account, chain, key)

    def reset(self) -> None:
        """Nothing exists, nothing was asked. The blobs stay: take other containers."""
        self.sites: dict[str, Site] = {}
        self.origins: dict[str, Origin] = {}
        self.container_apps: dict[str, ContainerApp] = {}
        self.jobs: dict[str, list[Execution]] = {}
        self.job_templates: dict[str, apps.Container] = {}
        self.vault: dict[str, str] = {}
        self.manifests: dict[str, bytes] = {}  # digest → content; also configurations
        self.locked: set[str] = set()
        self.backups: dict[str, datetime] = {}
        self.counts: dict[str, dict[datetime, float]] = {}  # host → minute → requests of Front Door's count
        self.health: dict[str, dict[datetime, float]] = {}
        self.statuses: dict[str, dict[datetime, float]] = {}  # status → minute → requests of the public
        self.access_log: list[tuple[datetime, float]] = []  # when, and seconds taken
        self.consoles: list[tuple[datetime, str, str]] = []  # when, site and machine, line
        self.partial: str | None = None  # why the workspace answers a part only
        self.commands: Callable[[list[str]], Command] = lambda words: Command()
        self.blob_log = True  # whether a job can write its log into a blob
        self.workspace_delay = 0  # so many queries before the workspace has anything
        self.requests: list[str] = []
        self.assertions: list[str] = []  # by which the authority was asked for a token
        self.fewest_in_rotation: int | None = None
        self.served: list[tuple[str, str]] = []  # path and version of each answer to the public
        self._failures: list[Failure] = []
        self._polls: dict[str, int] = {}
        self._guard = threading.RLock()
        self._turn = 0

    def __enter__(self) -> ArmStandIn:
        self.azurite.__enter__()
        self._proxy = _serve(_Proxy, self)
        self._public = _serve(_Edge, self)
        self.public_url = f"http://127.0.0.1:{self._public.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._proxy, self._public):
            server.shutdown()
            server.server_close()
        self.azurite.__exit__()

    def environment(self) -> dict[str, str]:
        """Of whoever is to speak to the stand-in in place of Azure."""
        return {
            "HTTPS_PROXY": f"http://127.0.0.1:{self._proxy.server_port}",
            "https_proxy": f"http://127.0.0.1:{self._proxy.server_port}",
            "NO_PROXY": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": str(self.ca),
            "SSL_CERT_FILE": str(self.ca),
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": "33333333-3333-4333-8333-333333333333",
            "AZURE_CLIENT_SECRET": TOKEN,
        }

    # -- what there is, and what is to happen ----------------------------------------------------------
    def site(self, name: str, *, workers: int = 2) -> Site:
        self.sites[name] = Site(
            name, [hashlib.sha256(f"{name}{n}".encode()).hexdigest() for n in range(workers)]
        )
        return self.sites[name]

    def origin(self, name: str, *, instance: str, site: str, host: str) -> Origin:
        self.origins[name] = Origin(instance=instance, site=site, host=host)
        return self.origins[name]

    def job(self, name: str) -> None:
        self.jobs[name] = []
        self.job_templates[name] = apps.Container(
            name="job",
            image="mcr.microsoft.com/k8se/quickstart-jobs:latest",
            env=[apps.EnvironmentVar(name="OF_THE_JOB", value="kept")],
            resources=apps.ContainerResources(cpu=0.5, memory="1Gi"),
        )

    def container_app(self, name: str) -> ContainerApp:
        template = apps.Template(containers=[apps.Container(name="process", image="placeholder", env=[])])
        self.container_apps[name] = ContainerApp(name, template)
        return self.container_apps[name]

    def image(self, labels: Mapping[str, str], *, index: bool = False) -> str:
        """Push an image with these labels; its digest, or that of an index over it."""
        manifest, pushed = images.image(labels)
        self.manifests |= pushed
        if not index:
            return manifest
        platform = {"os": "linux", "architecture": "amd64"}
        other = {"os": "linux", "architecture": "arm64"}
        digest, pushed = images.document(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [
                    {"digest": f"sha256:{'0' * 64}", "platform": other},
                    {"digest": manifest, "platform": platform},
                ],
            }
        )
        self.manifests |= pushed
        return digest

    def fail(
        self,
        method: str,
        match: str,
        *,
        status: int,
        code: str = "StandIn",
        times: int = 1,
        done: bool = False,
    ) -> None:
        """The next `times` requests whose URL has `match` in it are answered with `status`.

        `done`: what they ask for is done all the same.
        """
        self._failures.append(Failure(method, match, status, code, times, done))

    def fail_no_more(self) -> None:
        self._failures.clear()

    def asked(self, pattern: str) -> list[str]:
        """The requests ("PATCH https://…") that the pattern is found in."""
        return [request for request in self.requests if re.search(pattern, request)]

    # -- how it answers --------------------------------------------------------------------------------
    def answer(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> _Answer:
        with self._guard:
            self.requests.append(f"{method} {url}")
            for failure in self._failures:
                if failure.times and failure.method == method and failure.match in url:
                    failure.times -= 1
                    if failure.done:
                        self._routed(method, url, body, headers)
                    error = {"error": {"code": failure.code, "message": failure.message}}
                    # The clients repeat whatever says when to.
                    later = {"Retry-After": "0"} if failure.status in (429, 503) else {}
                    return _Answer(failure.status, error, later)
            return self._routed(method, url, body, headers)

    def _routed(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> _Answer:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host == "login.microsoftonline.com":
            return self._authority(parts.path, body)
        if "authorization" not in headers and not parts.path.startswith("/oauth2/"):
            return self._challenge(host)
        if not _is_for(headers.get("authorization", ""), host):
            error = {
                "code": "InvalidAuthenticationToken",
                "message": "The token is for another audience.",
            }
            return _Answer(401, {"error": error})
        for pattern, methods, route in _ROUTES:
            found = re.search(pattern, f"{host}{unquote(parts.path)}", re.IGNORECASE)
            if found and method in methods:
                return route(self, _Request(method, found.groups(), parse_qs(parts.query), body, headers))
        return _Answer(404, {"error": {"code": "NotFound", "message": f"The stand-in has no {method} {url}"}})

    def _authority(self, path: str, body: bytes) -> _Answer:
        base = f"https://login.microsoftonline.com/{TENANT}"
        if "discovery/instance" in path:
            hosts = ["login.microsoftonline.com"]
            metadata = {"preferred_network": hosts[0], "preferred_cache": hosts[0], "aliases": hosts}
            document = f"{base}/v2.0/.well-known/openid-configuration"
            return _Answer(200, {"tenant_discovery_endpoint": document, "metadata": [metadata]})
        if path.endswith("openid-configuration"):
            return _Answer(
                200,
                {
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                    "issuer": f"{base}/v2.0",
                },
            )
        asked = parse_qs(body.decode())
        self.assertions += asked.get("client_assertion", [])
        scope = asked.get("scope", [""])[0].split()[0].removesuffix("/.default")
        return _Answer(
            200, {"token_type": "Bearer", "expires_in": 3600, "access_token": token(scope.rstrip("/"))}
        )

    def _challenge(self, host: str) -> _Answer:
        if host.endswith(".azurecr.io"):
            said = (
                f'Bearer realm="https://{host}/oauth2/token",service="{host}",'
                f'scope="repository:app:pull,push,metadata_write"'
            )
        else:
            said = (
                f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", '
                f'resource="https://vault.azure.net"'
            )
        return _Answer(
            401, {"error": {"code": "Unauthorized", "message": "no token"}}, {"WWW-Authenticate": said}
        )

    # sites
    def _site(self, request: _Request) -> _Answer:
        if request.path[0] not in self.sites:
            return _Answer(404, {"error": {"code": "ResourceNotFound", "message": "no such site"}})
        site = self.sites[request.path[0]]
        if request.method == "PATCH":
            patch = web.SitePatchResource(json.loads(request.body))
            assert patch.properties
            assert patch.properties.site_config
            site.put(patch.properties.site_config)
        properties = web.SiteProperties(
            {"state": site.state, "defaultHostName": f"{site.name}.azurewebsites.net"}
        )
        return _model(web.Site(location="westeurope", properties=properties), name=site.name)

    def _listed_sites(self, _request: _Request) -> _Answer:
        return _page(
            {"name": name, "properties": {"defaultHostName": f"{name}.azurewebsites.net"}}
            for name in self.sites
        )

    def _switch_site(self, request: _Request) -> _Answer:
        site = self.sites[request.path[0]]
        site.state = "Running" if request.path[1] == "start" else "Stopped"
        return _Answer(200, None)

    def _site_config(self, request: _Request) -> _Answer:
        site = self.sites[request.path[0]]
        config = web.SiteConfig(linux_fx_version=site.image, app_command_line=site.command)
        return _model(web.SiteConfigResource(properties=config))

    def _site_settings(self, request: _Request) -> _Answer:
        return _model(web.StringDictionary(properties=self.sites[request.path[0]].settings))

    def _site_workers(self, request: _Request) -> _Answer:
        ready = web.WebSiteInstanceStatusProperties(state="READY")
        workers = self.sites[request.path[0]].workers
        return _page(
            [{**_plain(web.WebSiteInstanceStatus(properties=ready)), "name": name} for name in workers]
        )

    def _site_references(self, request: _Request) -> _Answer:
        site = self.sites[request.path[0]]
        return _page(
            [
                {
                    **_plain(
                        web.ApiKVReference(
                            properties=web.ApiKVReferenceProperties(
                                reference=value, status=site.references.get(setting, "Resolved")
                            )
                        )
                    ),
                    "name": setting,
                }
                for setting, value in site.settings.items()
                if value.startswith("@Microsoft.KeyVault(")
            ]
        )

    def _site_log(self, request: _Request) -> _Answer:
        site = self.sites[request.path[0]]
        archive = site.archive()
        if site.halves:
            site.halves -= 1
            archive = archive[: len(archive) // 2]
        return _Answer(200, archive, {"Content-Type": "application/zip"})

    # front door
    def _origin(self, request: _Request) -> _Answer:
        origin = self.origins[request.path[0]]
        if request.method == "PATCH":
            change = cdn.AFDOriginUpdateParameters(json.loads(request.body))
            assert change.properties
            state = word(change.properties.enabled_state)
            others = [each.state for each in self.origins.values() if each is not origin]
            if "Enabled" not in (state, *others):
                message = "Endpoint pools must contain at least one enabled endpoint"
                return _Answer(400, {"error": {"code": "BadRequest", "message": message}})
            origin.set(state)
            enabled = sum(each.state == "Enabled" for each in self.origins.values())
            self.fewest_in_rotation = min(enabled, self.fewest_in_rotation or len(self.origins))
        through = origin._reads <= 0
        origin._reads -= 1
        outcome = "Failed" if origin.fails else "Succeeded"
        properties = cdn.AFDOriginProperties(host_name=origin.host, enabled_state=origin.state)
        answer = _plain(cdn.AFDOrigin(properties=properties))
        answer["properties"]["provisioningState"] = outcome if through else "Updating"
        answer["properties"]["deploymentStatus"] = "NotStarted" if through else "InProgress"
        return _Answer(200, answer)

    def _free(self, _request: _Request) -> _Answer:
        return _Answer(200, {"nameAvailable": True})

    def _listed_origins(self, _request: _Request) -> _Answer:
        if not self.origins:
            return _Answer(404, {"error": {"code": "ResourceNotFound", "message": "no such origin group"}})
        found = [
            {"name": name, "properties": {"hostName": origin.host, "enabledState": origin.state}}
            for name, origin in self.origins.items()
        ]
        return _Answer(200, {"value": found})

    def _metrics(self, request: _Request) -> _Answer:
        metric = request.query["metricnames"][0]
        total = metric in ("OriginRequestCount", "RequestCount")
        begin, _, end = request.query["timespan"][0].partition("/")
        low, high = datetime.fromisoformat(begin), datetime.fromisoformat(end)
        if metric == "RequestCount":
            dimension, found = "httpstatus", self.statuses
        else:
            counted = self.counts if total else self.health
            dimension, found = "origin", {f"{host}:443": minutes for host, minutes in counted.items()}
        series = [
            {
                "metadatavalues": [{"name": {"value": dimension}, "value": name}],
                "data": [
                    {"timeStamp": at.isoformat(), "total" if total else "average": value}
                    for at, value in sorted(minutes.items())
                    if low <= at <= high
                ],
            }
            for name, minutes in found.items()
        ][: int(request.query.get("top", ["10"])[0])]
        value = {
            "id": metric,
            "type": "Microsoft.Insights/metrics",
            "name": {"value": metric},
            "unit": "Count",
            "timeseries": series,
        }
        return _Answer(200, {"timespan": request.query["timespan"][0], "value": [value]})

    # jobs
    def _job(self, request: _Request) -> _Answer:
        template = apps.JobTemplate(containers=[self.job_templates[request.path[0]]])
        return _model(apps.Job(location="westeurope", properties=apps.JobProperties(template=template)))

    def _start_job(self, request: _Request) -> _Answer:
        template = apps.JobExecutionTemplate(json.loads(request.body))
        name = f"{request.path[0]}-{secrets.token_hex(4)}"
        execution = Execution(name, template, datetime.now(UTC))
        self.jobs[request.path[0]].append(execution)
        command = self.commands(execution.words)
        threading.Thread(target=self._execute, args=(execution, command), daemon=True).start()
        return _model(apps.JobExecutionBase(name=name, id=f"/executions/{name}"))

    def _execute(self, execution: Execution, command: Command) -> None:
        """What the container of a job does."""
        log = None
        _, container, name = execution.environment["RELEVO_LOG"].split("/", 2)
        if self.blob_log and not command.lost:
            log = self.blob(container, name)
            log.create_append_blob()
        for line in command.lines:
            execution.lines.append(line)
            if log:
                log.append_block(f"{line}\n".encode())
        if command.hold:
            command.hold.wait(60)
        if execution.status != "Running":
            return
        if not command.lost:
            mark = {"status": command.status, "key": execution.environment["RELEVO_KEY"], "seconds": 1.0}
            execution.lines.append(json.dumps({"relevo": "ended", **mark}))
            if log:
                log.append_block(f"{execution.lines[-1]}\n".encode())
        execution.status = "Succeeded" if command.status == 0 and not command.lost else "Failed"

    def blob(self, container: str, name: str) -> BlobClient:
        """As whoever is in the network and has another way to it than the tests' subject."""
        return BlobClient(
            f"https://127.0.0.1:{self.azurite.port}/{self.azurite.account}",
            container,
            name,
            credential={"account_name": self.azurite.account, "account_key": KEY},  # pyright: ignore[reportArgumentType]
            connection_verify=str(self.ca),
        )

    def _executions(self, request: _Request) -> _Answer:
        job, name = request.path[0], request.path[1]
        found = [_execution(each) for each in self.jobs[job] if name in (None, each.name)]
        return _page(found) if name is None else _Answer(200, found[0])

    def _stop_execution(self, request: _Request) -> _Answer:
        for execution in self.jobs[request.path[0]]:
            if execution.name == request.path[1]:
                execution.status = "Stopped"
        return _Answer(200, {})

    def _workspace(self, request: _Request) -> _Answer:
        self.workspace_delay -= 1
        query = json.loads(request.body)["query"]
        if "AzureDiagnostics" in query:
            return self._table(self._classes(query), Class="int", Requests="long")
        if "Number <=" in query:
            return self._table(self._tail(query), Arrived="datetime", Program="string", Line="string")
        if "AppServiceConsoleLogs" in query:
            return self._table(self._console(query), TimeGenerated="datetime", Source="string", Line="string")
        name = re.search(r'startswith "([^"]+)"', query)
        assert name
        lines = [
            line for job in self.jobs.values() for each in job if each.name == name[1] for line in each.lines
        ]
        return self._table([[line] for line in lines] if self.workspace_delay < 0 else [], Line="string")

    def _table(self, rows: Iterable[Sequence[Any]], **columns: str) -> _Answer:
        named = [{"name": name, "type": kind} for name, kind in columns.items()]
        answer: dict[str, Any] = {
            "tables": [{"name": "PrimaryResult", "columns": named, "rows": [*map(list, rows)]}]
        }
        if self.partial:
            answer["error"] = {"code": "PartialError", "message": self.partial}
        return _Answer(200, answer)

    def _classes(self, query: str) -> Iterable[Sequence[Any]]:
        """Requests of the access log by the classes that the query names."""
        since, until = map(datetime.fromisoformat, re.findall(r"datetime\((\d[^)]+)\)", query))
        bounds = [float(bound) for bound in re.findall(r"Seconds <= ([\d.]+)", query)]
        return Counter(
            next((number for number, bound in enumerate(bounds) if seconds <= bound), len(bounds))
            for at, seconds in self.access_log
            if since <= at < until
        ).items()

    def _tail(self, query: str) -> Iterable[Sequence[Any]]:
        """The last lines of the programs that the query names; each arrives a minute after it was written."""
        (since,) = map(datetime.fromisoformat, re.findall(r"datetime\((\d[^)]+)\)", query))
        named = re.search(r"in~ \((.*)\)", query)
        most = re.search(r"Number <= (\d+)", query)
        assert named
        assert most
        for program in re.findall(r'"([^"]+)"', named[1]):
            arrived = [
                (at + timedelta(minutes=1), source, line)
                for at, source, line in self.consoles
                if source == program
            ]
            for at, source, line in [each for each in sorted(arrived) if each[0] > since][-int(most[1]) :]:
                yield at.isoformat(), source, line

    def _console(self, query: str) -> Iterable[Sequence[Any]]:
        """Lines of the span that the query names, whatever it asks of their text."""
        until, starts, since = map(datetime.fromisoformat, re.findall(r"datetime\((\d[^)]+)\)", query))
        for at, source, line in sorted(self.consoles, key=lambda each: (each[1], each[0])):
            if (starts if '"started"' in line else since) <= at < until:
                yield at.isoformat(), source, line

    # container apps
    def _container_app(self, request: _Request) -> _Answer:
        app = self.container_apps.get(request.path[0])
        if app is None:
            return _Answer(404, {"error": {"code": "ResourceNotFound", "message": "no such container app"}})
        if request.method == "PATCH":
            change = apps.ContainerApp(json.loads(request.body))
            assert change.properties
            assert change.properties.template
            app.template, app.revision = change.properties.template, app.revision + 1
        answer = _plain(
            apps.ContainerApp(
                location="westeurope", properties=apps.ContainerAppProperties(template=app.template)
            )
        )
        answer["properties"] |= {
            "latestRevisionName": f"{app.name}--{app.revision}",
            "runningStatus": app.state,
        }
        return _Answer(200, answer)

    def _switch_app(self, request: _Request) -> _Answer:
        app = self.container_apps[request.path[0]]
        app.state = "Running" if request.path[1] == "start" else "Stopped"
        return _Answer(200, _plain(apps.ContainerApp(location="westeurope")))

    def _revisions(self, request: _Request) -> _Answer:
        app = self.container_apps[request.path[0]]
        active = app.state == "Running"
        properties = {"active": active, "template": _plain(app.template), "runningState": app.state}
        _plain(apps.RevisionProperties(properties))
        return _page([{"name": f"{app.name}--{app.revision}", "properties": properties}])

    def _replicas(self, request: _Request) -> _Answer:
        app = self.container_apps[request.path[0]]
        container = {"name": "process", "restartCount": app.restarts, "runningState": "Running"}
        if app.restarts:
            container["runningStateDetails"] = "CrashLoopBackOff: exit code 1"
        properties = {"runningState": "Running", "containers": [container]}
        return _Answer(200, {"value": [{"name": f"{app.name}-0", "properties": properties}]})

    # vault, registry, database
    def _secret(self, request: _Request) -> _Answer:
        name = request.path[0]
        if name not in self.vault:
            error = {"code": "SecretNotFound", "message": f"A secret with (name/id) {name} was not found."}
            return _Answer(404, {"error": error})
        return _Answer(
            200,
            {
                "value": self.vault[name],
                "id": f"https://kv-assets-test.vault.azure.net/secrets/{name}/1",
                "attributes": {"enabled": True},
            },
        )

    def _exchange(self, request: _Request) -> _Answer:
        kind = "refresh_token" if request.path[0] == "exchange" else "access_token"
        return _Answer(200, {kind: token("registry")})

    def _manifest(self, request: _Request) -> _Answer:
        digest = request.path[0]
        if request.method == "DELETE":
            self.manifests.pop(digest, None)
            return _Answer(202, None)
        if digest not in self.manifests:
            error = {"code": "MANIFEST_UNKNOWN", "message": f"manifest {digest} is not known"}
            return _Answer(404, {"errors": [error]})
        data = self.manifests[digest]
        kind = json.loads(data).get("mediaType", "application/vnd.oci.image.manifest.v1+json")
        return _Answer(200, data, {"Content-Type": kind, "Docker-Content-Digest": digest})

    def _layer(self, request: _Request) -> _Answer:
        data = self.manifests[request.path[0]]
        span = f"bytes 0-{len(data) - 1}/{len(data)}"
        kind = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": request.path[0]}
        return _Answer(206, data, {**kind, "Content-Range": span})

    def _listing(self, request: _Request) -> _Answer:
        rows = [
            self._attributes(digest) for digest, data in self.manifests.items() if b"schemaVersion" in data
        ]
        return _Answer(200, {"registry": "", "imageName": "app", "manifests": rows})

    def _lock(self, request: _Request) -> _Answer:
        digest = request.path[0]
        if digest not in self.manifests:
            raise KeyError(digest)
        (self.locked.discard if json.loads(request.body)["deleteEnabled"] else self.locked.add)(digest)
        return _Answer(200, {"registry": "", "imageName": "app", "manifest": self._attributes(digest)})

    def _attributes(self, digest: str) -> dict[str, Any]:
        can = {"deleteEnabled": digest not in self.locked, "writeEnabled": True}
        more = {"listEnabled": True, "readEnabled": True}
        at = "2026-11-24T12:00:00.0000000Z"
        return {
            "digest": digest,
            "createdTime": at,
            "lastUpdateTime": at,
            "changeableAttributes": can | more,
        }

    def _backups(self, request: _Request) -> _Answer:
        return _page([_backup(name, at) for name, at in self.backups.items()])

    def _backup(self, request: _Request) -> _Answer:
        name = request.path[0]
        if request.method == "GET":
            return _Answer(200, _backup(name, self.backups[name]))
        if request.method == "DELETE":
            del self.backups[name]
        else:
            assert len(self.backups) < 7, "Azure keeps seven"
            newest = max(self.backups.values(), default=datetime(2026, 11, 1, tzinfo=UTC))
            self.backups[name] = newest + timedelta(seconds=1)
        where = f"https://management.azure.com/operations/{secrets.token_hex(4)}?api-version=1"
        return _Answer(202, None, {"Azure-AsyncOperation": where, "Location": where, "Retry-After": "0"})

    def _operation(self, request: _Request) -> _Answer:
        """Under way when first asked, then done."""
        asked = self._polls[request.path[0]] = self._polls.get(request.path[0], 0) + 1
        return _Answer(200, {"status": "InProgress" if asked == 1 else "Succeeded"}, {"Retry-After": "0"})

    # the edge
    def public(self, path: str, headers: Mapping[str, str]) -> _Answer:
        """As the edge answers: in turn by the origins that it has, or by one alone at its verify address."""
        with self._guard:
            verified = re.match(r"/verify/([^/]+)(/.*)", path)
            if verified:
                if headers.get("x-relevo-verify") != self.vault.get("relevo-verify"):
                    return _Answer(403, {"error": "blocked by the WAF"})
                serving = [each for each in self.origins.values() if each.instance == verified[1]]
            else:
                for origin in self.origins.values():
                    origin.asked()
                serving = [each for each in self.origins.values() if each.at_edge]
            if not serving:
                return _Answer(503, {"error": "no origin"})
            self._turn += 1
            origin = serving[self._turn % len(serving)]
            version = self.sites[origin.site].runs() or ""
            said = {"X-Instance": origin.instance, "X-Release": version}
            if not verified:
                self.served.append((path, version))
            return _Answer(200, {"ok": True}, said)


@dataclass
class _Answer:
    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Request:
    method: str
    path: Sequence[Any]
    query: Mapping[str, list[str]]
    body: bytes
    headers: Mapping[str, str]


_SITE = r"/Microsoft\.Web/sites/([^/]+)"
_APP = r"/Microsoft\.App/containerApps/([^/]+)"
_JOB = r"/Microsoft\.App/jobs/([^/]+)"
_ROUTES: Sequence[tuple[str, tuple[str, ...], Callable[[ArmStandIn, _Request], _Answer]]] = (
    (rf"{_SITE}$", ("GET", "PATCH"), ArmStandIn._site),
    (r"/Microsoft\.Web/sites$", ("GET",), ArmStandIn._listed_sites),
    (rf"{_SITE}/(start|stop)$", ("POST",), ArmStandIn._switch_site),
    (rf"{_SITE}/config/web$", ("GET",), ArmStandIn._site_config),
    (rf"{_SITE}/config/appsettings/list$", ("POST",), ArmStandIn._site_settings),
    (rf"{_SITE}/config/configreferences/appsettings$", ("GET",), ArmStandIn._site_references),
    (rf"{_SITE}/instances$", ("GET",), ArmStandIn._site_workers),
    (rf"{_SITE}/containerlogs/zip/download$", ("POST",), ArmStandIn._site_log),
    (
        r"/Microsoft\.Cdn/profiles/[^/]+/originGroups/[^/]+/origins/([^/]+)$",
        ("GET", "PATCH"),
        ArmStandIn._origin,
    ),
    (
        r"/Microsoft\.Cdn/profiles/[^/]+/originGroups/[^/]+/origins$",
        ("GET",),
        ArmStandIn._listed_origins,
    ),
    (r"/checkNameAvailability$", ("POST",), ArmStandIn._free),
    (r"/providers/Microsoft\.Insights/metrics$", ("GET",), ArmStandIn._metrics),
    (rf"{_JOB}$", ("GET",), ArmStandIn._job),
    (rf"{_JOB}/start$", ("POST",), ArmStandIn._start_job),
    (rf"{_JOB}/executions(?:/([^/]+))?$", ("GET",), ArmStandIn._executions),
    (rf"{_JOB}/executions/([^/]+)/stop$", ("POST",), ArmStandIn._stop_execution),
    (r"^api\.loganalytics\.io/v1/workspaces/([^/]+)/query$", ("POST",), ArmStandIn._workspace),
    (rf"{_APP}$", ("GET", "PATCH"), ArmStandIn._container_app),
    (rf"{_APP}/(start|stop)$", ("POST",), ArmStandIn._switch_app),
    (rf"{_APP}/revisions$", ("GET",), ArmStandIn._revisions),
    (rf"{_APP}/revisions/[^/]+/replicas$", ("GET",), ArmStandIn._replicas),
    (r"\.vault\.azure\.net/secrets/([^/]+)", ("GET",), ArmStandIn._secret),
    (r"\.azurecr\.io/oauth2/(exchange|token)$", ("POST",), ArmStandIn._exchange),
    (r"\.azurecr\.io/v2/.+/manifests/([^/]+)$", ("GET", "DELETE"), ArmStandIn._manifest),
    (r"\.azurecr\.io/v2/.+/blobs/([^/]+)$", ("GET",), ArmStandIn._layer),
    (r"\.azurecr\.io/acr/v1/.+/_manifests/([^/]+)$", ("PATCH",), ArmStandIn._lock),
    (r"\.azurecr\.io/acr/v1/.+/_manifests/?$", ("GET",), ArmStandIn._listing),
    (r"/flexibleServers/[^/]+/backups$", ("GET",), ArmStandIn._backups),
    (r"/flexibleServers/[^/]+/backups/([^/]+)$", ("GET", "PUT", "DELETE"), ArmStandIn._backup),
    (r"^management\.[^/]+/operations/([^/]+)$", ("GET",), ArmStandIn._operation),
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    disable_nagle_algorithm = True
    azure: ArmStandIn

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the tests' output."""

    def _send(self, answer: _Answer) -> None:
        kind = {"Content-Type": "application/json"}
        body = b"" if answer.body is None else answer.body
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(answer.status)
        for name, value in {**kind, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


class _Edge(_Handler):
    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(self.azure.public(self.path, headers))


class _Proxy(_Handler):
    """Takes CONNECT, ends TLS as the host that was asked for, and answers for it."""

    host = ""

    def do_CONNECT(self) -> None:
        self.host = self.path.partition(":")[0]
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        if self.host.endswith(".blob.core.windows.net"):
            self._pass_on()
            return
        try:
            self.connection = self.azure.tls.wrap_socket(self.connection, server_side=True)
        except OSError:
            self.close_connection = True
            return
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")
        self.close_connection = False

    def _pass_on(self) -> None:
        self.close_connection = True
        with create_connection(("127.0.0.1", self.azure.azurite.port)) as other:
            other.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            back = threading.Thread(target=_pump, args=(other, self.connection), daemon=True)
            back.start()
            _pump(self.connection, other)
            back.join(5)

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            answer = self.azure.answer(self.command, f"https://{self.host}{self.path}", body, headers)
        except KeyError as missing:
            answer = _Answer(404, {"error": {"code": "ResourceNotFound", "message": f"no {missing}"}})
        self._send(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _respond


def _serve(handler: type[_Handler], azure: ArmStandIn) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type(handler.__name__, (handler,), {"azure": azure}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def _pump(source: Any, target: Any) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(SHUT_RDWR)


def _plain(model: Any) -> dict[str, Any]:
    return model.as_dict()


def _model(model: Any, **more: Any) -> _Answer:
    return _Answer(200, {**_plain(model), **more})


def _page(rows: Iterable[Mapping[str, Any]]) -> _Answer:
    return _Answer(200, {"value": list(rows)})


def _execution(execution: Execution) -> dict[str, Any]:
    properties = apps.JobExecutionProperties(start_time=execution.begun, template=execution.template)
    answer = {**_plain(apps.JobExecution(properties=properties)), "name": execution.name}
    answer["properties"]["status"] = execution.status
    return answer


def _backup(name: str, at: datetime) -> dict[str, Any]:
    properties = postgres.BackupAutomaticAndOnDemandProperties(
        backup_type="Customer On-Demand", completed_time=at, source="Full"
    )
    return {**_plain(postgres.BackupAutomaticAndOnDemand(properties=properties)), "name": name}


def _is_for(authorization: str, host: str) -> bool:
    """Whether the token's audience is the host's, as far as that is the host's to see."""
    audience = AUDIENCES.get(
        host.partition(".")[2], f"https://{host}" if host.startswith("management.") else None
    )
    if audience is None:
        return True
    claims = json.loads(base64.urlsafe_b64decode(authorization.split(".")[1]))
    return claims["aud"] == audience


def token(audience: str) -> str:
    """A token of nobody; its parts have a length that no reader needs to pad."""
    now = int(time.time())
    claims = {
        "aud": audience,
        "iss": f"https://sts.windows.net/{TENANT}/",
        "nbf": now - 60,
        "iat": now - 60,
        "exp": now + 3600,
        "jti": TOKEN,
    }

    def part(content: Mapping[str, Any]) -> str:
        data = json.dumps(content).encode()
        return base64.urlsafe_b64encode(data.ljust(len(data) + -len(data) % 12)).decode()

    return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.{part({'signed': False})}"
