"""One-off jobs in the network: started once, followed to the end, and found again after a kill."""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError

from components.azure import image as layout
from components.azure.environment import Environment, written
from components.azure.faults import asking
from components.azure.login import Clients, blobs
from components.azure.marker import Ended, ended
from components.azure.waiting import PAUSE, until
from components.azure.words import word
from components.masking import Masking
from components.target import Completed, TargetError

if TYPE_CHECKING:
    from azure.mgmt.appcontainers.models import JobExecution, JobExecutionTemplate

OVER = frozenset({"Succeeded", "Failed", "Stopped", "Degraded"})
STATES = OVER | {"Running", "Processing", "Unknown"}  # the last one passes
LOG_SECONDS = 600.0  # for what the workspace has only after a while
FAILED_LOG_SECONDS = 60.0  # for what a job that failed may have said: it failed in any case
BEGUN_SECONDS = 30.0  # for an execution to be listed whose start was not answered
FOLDER = "jobs"  # in the lock container, which may be written over
KEPT = 200_000  # letters of a command's output
SHOWN = 3  # lines of a log in an error
# Of Container Apps and of the table that the environment's own setting writes; the one that is not there is
# passed over. Before the first line neither is there, and a query without any table fails ("union operator").
LOGS = """
union isfuzzy=true (datatable(TimeGenerated: datetime)[]), ContainerAppConsoleLogs, ContainerAppConsoleLogs_CL
| extend Replica = coalesce(column_ifexists("ContainerGroupName", ""),
                            column_ifexists("ContainerGroupName_s", "")),
         Line = coalesce(column_ifexists("Log", ""), column_ifexists("Log_s", ""))
| where Replica startswith "{execution}"
| order by TimeGenerated asc
| project Line
"""


def key_of(*parts: object) -> str:
    """What an execution is of: the same release, step, image and arguments give the same key."""
    return hashlib.sha256(json.dumps(parts, default=list).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Execution:
    """One execution of a job. `key` and `log` are in its environment: `log` is a blob's name."""

    name: str
    status: str
    key: str | None
    log: str | None
    step: str | None = None
    message: str = ""

    @classmethod
    def of(cls, found: JobExecution) -> Execution:
        properties = found.properties
        template = properties.template if properties else None
        environment = {
            variable.name: variable.value
            for container in (template.containers if template else None) or []
            for variable in container.env or []
        }
        log = environment.get("RELEVO_LOG")
        return cls(
            name=found.name or "",
            status=word(properties.status if properties else None) or "Unknown",
            key=environment.get("RELEVO_KEY"),
            log=log.split("/", 2)[2] if log else None,
            step=environment.get("RELEVO_STEP"),
            message=(properties.message or properties.reason or "") if properties else "",
        )


class Jobs:
    """`names`: kind ("manage", "backup") → the job's name. `limit`: seconds that a command is given.

    The log is a blob in the container `lock`, and in the workspace a few minutes later; an execution whose
    blob is missing is looked for there.
    """

    def __init__(
        self,
        clients: Clients,
        *,
        group: str,
        names: Mapping[str, str],
        vault_uri: str,
        workspace: str,
        blob_host: str,
        lock: str,
        limit: float,
    ) -> None:
        self._clients = clients
        self._group = group
        self._names = names
        self._vault_uri = vault_uri
        self._workspace = workspace
        self._host = blob_host
        self._lock = lock
        self._limit = limit
        self._log_limit = min(LOG_SECONDS, limit)

    def run(
        self,
        kind: str,
        words: Sequence[str],
        *,
        image: str,
        environment: Environment,
        step: str,
        key: str,
        masking: Masking,
        show: bool = True,
        fresh: bool = False,
    ) -> Completed:
        """Returns when the command has ended, its output streamed.

        One of the same key that still runs is followed, and one that ended well is not run again, unless
        a `fresh` answer is asked for. Raises `TargetError` at the limit, or when the job ends without the
        command.
        """
        deadline = time.monotonic() + self._limit
        what = f"{' '.join(words[:2])} in the job {self._names[kind]}"
        execution = self._earlier(kind, key, fresh=fresh)
        if execution is None:
            self._wait_for_none(kind, lambda _: True, timeout=deadline - time.monotonic())
            execution = self._start(kind, words, image, {**environment, "RELEVO_STEP": step}, key)
        else:
            print(f"{what}: goes on with {execution.name}, begun before", file=sys.stderr, flush=True)
        try:
            return self._follow(kind, execution, what, deadline, masking, show)
        except TargetError:
            raise
        except BaseException:  # whoever cancels the step means its command as well
            self._stop(kind, execution)
            raise

    def wait_for_orphans(self, step: str, *, timeout: float) -> None:
        """Of steps that were killed. What `step` itself has begun is gone on with by `run`."""
        for kind in self._names:
            self._wait_for_none(kind, lambda execution: execution.step != step, timeout=timeout)

    # -- which execution -------------------------------------------------------------------------------
    def _executions(self, kind: str) -> list[Execution]:
        """Newest first, as far as they are a release's."""
        name = self._names[kind]
        with asking(f"list the executions of the job {name}"):
            found = list(self._clients.container_apps.jobs_executions.list(self._group, name))
        found.sort(key=lambda each: str(each.properties and each.properties.start_time), reverse=True)
        return [execution for each in found if (execution := Execution.of(each)).key]

    def _earlier(self, kind: str, key: str, *, fresh: bool) -> Execution | None:
        """The one to go on with: it runs, or it ended well."""
        for execution in self._executions(kind):
            if execution.key != key:
                continue
            mark = self._mark(execution)
            if mark is None and execution.status not in OVER:
                return execution
            if not fresh and (mark.status == 0 if mark else execution.status == "Succeeded"):
                return execution
        return None

    def _wait_for_none(self, kind: str, which: Callable[[Execution], bool], *, timeout: float) -> None:
        """Until none of `which` runs: one command at a time beside the database."""
        told: set[str] = set()

        def none_left() -> bool | None:
            names = [
                execution.name
                for execution in self._executions(kind)
                if execution.status not in OVER and which(execution) and self._mark(execution) is None
            ]
            for name in names:
                if name not in told:
                    print(f"waiting for {name} of an earlier step …", file=sys.stderr, flush=True)
                    told.add(name)
            return None if names else True

        until(
            none_left,
            timeout=max(0.0, timeout),
            limit="relevo:limits.commandSeconds",
            fault=lambda: f"{', '.join(sorted(told))} of an earlier step still runs",
        )

    def _start(
        self, kind: str, words: Sequence[str], image: str, environment: Environment, key: str
    ) -> Execution:
        """The job's own container, with another image, command and environment for this execution alone."""
        from azure.mgmt.appcontainers import models

        name = self._names[kind]
        log = f"{FOLDER}/{key}-{secrets.token_hex(4)}.log"
        apps = self._clients.container_apps
        with asking(f"start the job {name}"):
            job = apps.jobs.get(self._group, name)
        template = job.properties.template if job.properties else None
        container = next(iter((template.containers if template else None) or []), None)
        if container is None:
            raise TargetError(f"the job {name} has no container, but a command runs in it; run pulumi up.")
        variables = {variable.name: variable for variable in container.env or []}
        own: Environment = {
            **environment,
            "RELEVO_KEY": key,
            "RELEVO_LOG": f"{self._host}/{self._lock}/{log}",
        }
        for variable, value in written(own, self._vault_uri).items():
            variables[variable] = models.EnvironmentVar(name=variable, value=value)
        override = models.JobExecutionTemplate(
            containers=[
                models.JobExecutionContainer(
                    name=container.name,
                    image=image,
                    command=list(layout.job(words)),
                    args=[],
                    env=list(variables.values()),
                    resources=container.resources,
                )
            ]
        )
        with asking(f"start the job {name}"):
            begun = self._begin(kind, override, log)
        if not begun:
            raise TargetError(f"the job {name} was started without a name to follow; run pulumi up again.")
        return Execution(name=begun, status="Running", key=key, log=log)

    def _begin(self, kind: str, override: JobExecutionTemplate, log: str) -> str | None:
        """The name of the execution, which is asked for once: a fault does not say that it has not begun."""
        try:
            start = self._clients.job_starts.begin_start(self._group, self._names[kind], template=override)
            return start.result().name
        except AzureError as error:
            if isinstance(error, HttpResponseError) and 400 <= (error.status_code or 400) < 500:
                raise
            deadline = time.monotonic() + BEGUN_SECONDS
            while True:
                for execution in self._executions(kind):
                    if execution.log == log:
                        return execution.name
                if time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE)

    def _stop(self, kind: str, execution: Execution) -> None:
        with suppress(TargetError), asking(f"stop {execution.name}"):
            apps = self._clients.container_apps
            apps.jobs.begin_stop_execution(self._group, self._names[kind], execution.name).result(60)

    # -- to its end ------------------------------------------------------------------------------------
    def _follow(
        self, kind: str, execution: Execution, what: str, deadline: float, masking: Masking, show: bool
    ) -> Completed:
        log = _Reader(self._blobs, self._lock, execution, masking, show)
        while (mark := log.read()) is None:
            status = self._status(kind, execution)
            if status.status in OVER:
                mark = log.read() or self._from_workspace(status, log)
                if mark is None:
                    raise TargetError(self._lost(what, status, log))
                break
            if status.status not in STATES:
                raise TargetError(
                    f"{what} is {status.status}, which is none of the states that a job can have; see "
                    f"{execution.name} in the portal."
                )
            if time.monotonic() > deadline:
                self._stop(kind, execution)
                raise TargetError(
                    f"{what} takes longer than {self._limit:g} s, but it is given no more{log.end()}; raise "
                    f"relevo:limits.commandSeconds, or make it shorter."
                )
            time.sleep(PAUSE)
        return Completed(status=mark.status, output=log.output[-KEPT:], seconds=mark.seconds)

    def _status(self, kind: str, execution: Execution) -> Execution:
        with asking(f"follow {execution.name}"):
            return Execution.of(
                self._clients.container_apps.job_execution(self._group, self._names[kind], execution.name)
            )

    def _lost(self, what: str, execution: Execution, log: _Reader) -> str:
        reason = f": {execution.message}" if execution.message else ""
        return (
            f"{what} ended {execution.status.lower()} without its command's end in the "
            f"log{reason}{log.end()}; see {execution.name} in the portal (image, memory, disk, identity)."
        )

    @property
    def _blobs(self) -> Any:
        return blobs(self._host)

    def _mark(self, execution: Execution) -> Ended | None:
        """How its command ended, as far as its blob tells."""
        return _Reader(self._blobs, self._lock, execution, Masking(()), show=False).read()

    def _from_workspace(self, execution: Execution, log: _Reader) -> Ended | None:
        """The same of the workspace, which has it some minutes later; nothing if the command never ran."""
        query = LOGS.format(execution=execution.name)
        failed = execution.status != "Succeeded"
        patience = min(FAILED_LOG_SECONDS, self._log_limit) if failed else self._log_limit
        deadline = time.monotonic() + patience
        while True:
            with asking(f"read the log of {execution.name} in the workspace"):
                result = self._clients.logs.query_workspace(
                    self._workspace, query, timespan=timedelta(seconds=self._limit + 86400)
                )
            tables = getattr(result, "tables", None) or getattr(result, "partial_data", None) or []
            lines = [str(row[0]) for table in tables for row in table.rows]
            mark = ended(lines, execution.key or "")
            if mark is not None or time.monotonic() > deadline:
                log.replace(lines)
                return mark
            time.sleep(PAUSE)


class _Reader:
    """An execution's log as far as it has been read: shown by the line, masked, without our own last one."""

    def __init__(
        self, client: Any, container: str, execution: Execution, masking: Masking, show: bool
    ) -> None:
        self._blob = client.get_blob_client(container, execution.log) if execution.log else None
        self._key = execution.key or ""
        self._masking = masking
        self._show = show
        self._offset = 0
        self._rest = b""
        self.output = ""

    def read(self) -> Ended | None:
        """What is new; how the command ended, once that is there."""
        for data in iter(self._download, b""):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
                if mark := ended([text], self._key):
                    return mark
                self._add(text)
        return None

    def replace(self, lines: Sequence[str]) -> None:
        """With what another source has of it, if that has any."""
        if lines:
            self.output = ""
            for line in lines:
                if ended([line], self._key) is None:
                    self._add(line)

    def end(self) -> str:
        """The last lines, for an error."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return f" (its log ends: {' | '.join(lines[-SHOWN:])[-300:]})" if lines else ""

    def _add(self, line: str) -> None:
        masked = self._masking(line)
        self.output = f"{self.output}{masked}\n"[-2 * KEPT :]
        if self._show:
            print(masked, flush=True)

    def _download(self) -> bytes:
        if self._blob is None:
            return b""
        with asking("read a job's log"):
            try:
                if self._blob.get_blob_properties().size <= self._offset:
                    return b""
                data: bytes = self._blob.download_blob(offset=self._offset).readall()
            except ResourceNotFoundError:
                return b""
        self._offset += len(data)
        return data
