"""Who is in rotation: origins of Front Door, and the proof that a change has reached its edge."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from components.azure.faults import asking
from components.azure.login import Clients
from components.azure.origins import DISABLED, ENABLED
from components.azure.waiting import PAUSE
from components.azure.words import word
from components.target import TargetError

ANSWERS = 10  # public requests in a row that another instance answers
BETWEEN = 0.1  # seconds from one to the next
MINUTE = timedelta(minutes=1)
# "The metrics can take up to 3 minutes to get processed by Azure Monitor" (Monitor metrics and logs in Azure
# Front Door); one more for clocks that differ.
LAG = timedelta(minutes=4)
HEALTHY_PERCENT = 50.0
ORIGINS = 100  # Azure answers ten series unless it is asked for more (Metrics - List, "top")


@dataclass(frozen=True)
class Minute:
    """What a metric has of one minute: origin host → value."""

    at: datetime
    values: Mapping[str, float]


def quiet(minutes: list[Minute], host: str, *, since: datetime, now: datetime, wanted: int) -> bool:
    """Whether the last `wanted` whole minutes after `since` had no request to `host`. Pure.

    A minute without any value is one without requests once it is surely processed: when a later one has
    values, or after `LAG`.
    """
    known = {minute.at: minute.values for minute in minutes}
    newest = max((at for at, values in known.items() if values), default=None)
    first = since.replace(second=0, microsecond=0) + MINUTE
    run = 0
    at = first
    while at + MINUTE <= now or (newest is not None and at < newest):
        processed = (newest is not None and at < newest) or at + MINUTE + LAG <= now
        if known.get(at, {}).get(host, 0) > 0:
            run = 0
        elif processed:
            run += 1
        at += MINUTE
    return run >= wanted


class Rotation:
    """`origins`: instance → origin; `hosts`: instance → the host that Front Door knows it by.

    `probe`: path, headers, `instance_header` (or None) and seconds of a public request. `quiet_minutes`:
    whole minutes without a request by Front Door's own count, before an instance counts as drained.
    """

    def __init__(
        self,
        clients: Clients,
        *,
        group: str,
        profile: str,
        origin_group: str,
        origins: Mapping[str, str],
        hosts: Mapping[str, str],
        public_url: str,
        probe: Mapping[str, Any],
        quiet_minutes: int = 1,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: float | None = None,
    ) -> None:
        self._clients = clients
        self._at = (group, profile, origin_group)
        self._origins = origins
        self._hosts = hosts
        self._public_url = public_url
        self._probe = probe
        self._quiet_minutes = quiet_minutes
        self._clock = clock
        self._pause = PAUSE if pause is None else pause

    def contains(self, name: str) -> bool:
        return word(self._origin(name).enabled_state) == ENABLED

    def remove(self, name: str, *, timeout: float, served: bool = True) -> None:
        """Returns when Front Door sends it nothing any more. `served`: whether it may have had requests."""
        deadline = time.monotonic() + timeout
        self._set(name, DISABLED, deadline)
        if not served:
            return
        since = self._clock()
        others, silent = 0, self._quiet_minutes == 0
        checked = -LAG.total_seconds()
        while True:
            if others < ANSWERS:
                others = self._count_others(name, others)
            if not silent and time.monotonic() - checked >= min(10.0, 5 * self._pause):
                checked = time.monotonic()
                minutes = self._metric("OriginRequestCount", "Total", since)
                silent = quiet(
                    minutes, self._hosts[name], since=since, now=self._clock(), wanted=self._quiet_minutes
                )
            if others >= ANSWERS and silent:
                return
            if time.monotonic() > deadline:
                reason = (
                    f"only {others} of {ANSWERS} public requests in a row were answered by another instance"
                    if others < ANSWERS
                    else "Front Door counts requests to it, or has not counted yet"
                )
                raise TargetError(
                    f"{name} is not drained after {timeout:g} s ({reason}), but no request may be cut off; "
                    f"raise relevo:limits.drainSeconds, or see whether the other instances are healthy."
                )
            time.sleep(self._pause if others >= ANSWERS else BETWEEN)

    def add(self, name: str, *, timeout: float) -> None:
        """Returns when the edge has sent it a request, or its probes reach it."""
        deadline = time.monotonic() + timeout
        self._set(name, ENABLED, deadline)
        since = self._clock()
        checked = -LAG.total_seconds()
        while True:
            if self._answers() == name:
                return
            if time.monotonic() - checked >= min(10.0, 5 * self._pause):
                checked = time.monotonic()
                minutes = self._metric("OriginHealthPercentage", "Average", since)
                values = [
                    minute.values.get(self._hosts[name], 0.0) for minute in minutes if minute.at > since
                ]
                if values and values[-1] >= HEALTHY_PERCENT:
                    return
            if time.monotonic() > deadline:
                raise TargetError(
                    f"Front Door does not see {name} healthy after {timeout:g} s, but it must before the "
                    f"next one is taken out; see OriginHealthPercentage of {self._at[1]}, or raise "
                    f"relevo:limits.readySeconds."
                )
            time.sleep(self._pause)

    def _strangers(self) -> dict[str, str]:
        """Origins that are no instances any more → their hosts; the engine deletes them after the release."""
        with asking(f"list the origins of {self._at[1]}"):
            listed = list(self._clients.front_door.afd_origins.list_by_origin_group(*self._at))
        known = set(self._origins.values())
        return {
            origin.name: origin.properties.host_name or ""
            for origin in listed
            if origin.name is not None and origin.name not in known and origin.properties is not None
        }

    def retire(self, sites: Mapping[str, str], *, timeout: float) -> None:
        """Origins that are no instances any more are taken out of rotation.

        Returns when Front Door sends nothing to them and to `sites` (name → host) any more.
        """
        deadline = time.monotonic() + timeout
        strangers = self._strangers()
        left = {**sites, **strangers}
        if not left:
            return
        enabled = [name for name in strangers if word(self._read(name).enabled_state) == ENABLED]
        for name in enabled:
            self._change(name, DISABLED, deadline)
        for name in strangers:
            self._settle(name, DISABLED, deadline)
        # What an earlier try has taken out may have been silent for long.
        since = self._clock() - (timedelta() if enabled else LAG + 2 * MINUTE)
        while True:
            minutes, now = self._metric("OriginRequestCount", "Total", since), self._clock()
            asked = [
                name
                for name, host in left.items()
                if not quiet(minutes, host, since=since, now=now, wanted=self._quiet_minutes)
            ]
            if not asked:
                return
            if time.monotonic() > deadline:
                raise TargetError(
                    f"{asked[0]} is no instance any more, but after {timeout:g} s Front Door counts requests "
                    f"to it, or has not counted yet; raise relevo:limits.drainSeconds."
                )
            time.sleep(min(10.0, 5 * self._pause))

    # -- control plane ---------------------------------------------------------------------------------
    def _set(self, name: str, state: str, deadline: float) -> None:
        """Also after a kill in the middle: the state is asked for again only where it is another."""
        origin = self._origins[name]
        if word(self._origin(name).enabled_state) != state:
            if state == DISABLED:
                self._refuse_to_empty(name)
            self._change(origin, state, deadline)
        self._settle(origin, state, deadline)

    def _change(self, origin: str, state: str, deadline: float) -> None:
        from azure.mgmt.cdn import models

        change = models.AFDOriginUpdateParameters(
            properties=models.AFDOriginUpdatePropertiesParameters(enabled_state=state)
        )
        with asking(f"set the origin {origin} to {state}"):
            poller = self._clients.front_door.afd_origins.begin_update(*self._at, origin, change)
            poller.wait(max(1.0, deadline - time.monotonic()))

    def _settle(self, origin: str, state: str, deadline: float) -> None:
        while True:
            found = self._read(origin)
            now, provisioning = word(found.enabled_state), word(found.provisioning_state)
            deployment = word(found.deployment_status)
            if "Failed" in (provisioning, deployment):
                raise TargetError(
                    f"Front Door failed to set the origin {origin} to {state}, but the roll needs it; see "
                    f"the activity log of {self._at[1]}, and run pulumi up again."
                )
            # "NotStarted" is what a profile that has no deployment to wait for goes on saying.
            settled = provisioning == "Succeeded" and deployment != "InProgress"
            if settled and now == state:
                return
            if time.monotonic() > deadline:
                raise TargetError(
                    f"the origin {origin} is {now} ({provisioning}) and not "
                    f"{state} in the time given, but the roll needs it; raise relevo:limits.drainSeconds, or "
                    f"see the portal."
                )
            time.sleep(self._pause)

    def _refuse_to_empty(self, name: str) -> None:
        """Front Door would: "Endpoint pools must contain at least one enabled endpoint"."""
        if any(self.contains(other) for other in self._origins if other != name):
            return
        group, profile, origin_group = self._at
        raise TargetError(
            f"{name} is the only instance in rotation, but another one must serve while it is replaced; "
            f"bring one back first, which gets requests as it is: az afd origin update --enabled-state "
            f"Enabled --resource-group {group} --profile-name {profile} --origin-group-name {origin_group} "
            f"--origin-name NAME."
        )

    def _origin(self, name: str) -> Any:
        return self._read(self._origins[name])

    def _read(self, origin: str) -> Any:
        with asking(f"read the origin {origin}"):
            return self._clients.front_door.afd_origins.get(*self._at, origin).properties

    # -- what is served --------------------------------------------------------------------------------
    def _count_others(self, name: str, before: int) -> int:
        """Answers in a row by others; as many as wanted, where no answer says by whom or nobody else is."""
        if self._probe.get("instance_header") is None or len(self._origins) == 1:
            return ANSWERS
        answered = self._answers()
        return before + 1 if answered not in (None, name) else 0

    def _answers(self) -> str | None:
        """Which instance answers the public, by its header; None: no good answer, or none that says."""
        header = self._probe.get("instance_header")
        if header is None:
            return None
        try:
            response = self._http.get(
                self._public_url.rstrip("/") + self._probe["path"],
                headers=self._probe["headers"],
                timeout=self._probe["timeout_seconds"],
            )
        except httpx.HTTPError:
            return None
        return response.headers.get(header) if response.status_code == self._probe["status"] else None

    @functools.cached_property
    def _http(self) -> httpx.Client:
        """A new connection for each request, as a new visitor has."""
        return httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))

    def _metric(self, metric: str, aggregation: str, since: datetime) -> list[Minute]:
        """By origin ("host:port") and minute ("Supported metrics for Microsoft.Cdn/profiles")."""
        group, profile, _ = self._at
        resource = (
            f"/subscriptions/{self._clients.subscription}/resourceGroups/{group}/providers/Microsoft.Cdn/profiles/"
            f"{profile}"
        )
        begin = since.replace(second=0, microsecond=0)
        end = max(self._clock(), begin + MINUTE)
        with asking(f"read {metric} of {profile}"):
            response = self._clients.monitor.metrics.list(
                resource,
                timespan=f"{begin:%Y-%m-%dT%H:%M:%SZ}/{end:%Y-%m-%dT%H:%M:%SZ}",
                interval="PT1M",
                metricnames=metric,
                aggregation=aggregation,
                filter="Origin eq '*'",
                top=ORIGINS,
            )
        found: dict[datetime, dict[str, float]] = {}
        for one in response.value:
            for series in one.timeseries or []:
                host = next((value.value or "" for value in series.metadatavalues or []), "").partition(":")[
                    0
                ]
                for point in series.data or []:
                    value = point.total if aggregation == "Total" else point.average
                    if value is not None:
                        at = point.time_stamp.astimezone(UTC)
                        values = found.setdefault(at, {})
                        values[host] = values.get(host, 0.0) + value
        return [Minute(at, values) for at, values in sorted(found.items())]
