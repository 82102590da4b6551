"""A probe that is changed: the balancer uses the new one at once, so what serves must answer it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from components.local.balancer import EdgeSettings, Probe
from components.local.edge import probe_fault
from tests.unit.release.stand_in import Answer, Asked, StandInSite, serving

OLD = Probe(path="/healthz/")


@dataclass
class StandInBalancer:
    """What `probe_fault` asks of a balancer."""

    settings: EdgeSettings | None
    rotation: set[str] = field(default_factory=set)

    def running(self) -> EdgeSettings | None:
        return self.settings

    def in_rotation(self, name: str) -> bool:
        return name in self.rotation


@pytest.fixture
def site() -> Iterator[StandInSite]:
    """An instance of v1: only its old probe's path is there, and only under the public host."""

    def answer(asked: Asked) -> Answer:
        known = asked.path == "/healthz/" and asked.headers["Host"] == "127.0.0.1:8000"
        return Answer(status=200 if known else 404)

    with serving(answer) as site:
        yield site


def settings(site: StandInSite, probe: Probe = OLD) -> EdgeSettings:
    port = int(site.url.rpartition(":")[2])
    return EdgeSettings(port=8000, stats_port=8001, instances={"instance-1": port}, probe=probe)


def fault(balancer: StandInBalancer, wanted: EdgeSettings) -> str | None:
    return probe_fault(balancer, wanted, {"instance-1": "v1"}.get)  # pyright: ignore[reportArgumentType]


def test_a_probe_that_what_serves_does_not_answer_is_refused(site: StandInSite) -> None:
    """The balancer would take every instance out before the first step of the release."""
    balancer = StandInBalancer(settings(site), {"instance-1"})
    assert fault(balancer, settings(site, Probe(path="/ready/"))) == (
        "relevo:app.probe expects 200 of /ready/, but v1 on instance-1 answers 404; "
        "release with the probe that both versions answer, then change it."
    )
    assert fault(balancer, settings(site, Probe(path="/healthz/", status=204)))
    assert fault(balancer, settings(site, replace(OLD, headers={"Host": "other"})))


def test_an_instance_that_does_not_answer_at_all_is_named(site: StandInSite) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        running = replace(settings(site), instances={"instance-1": closed.getsockname()[1]})
        said = fault(StandInBalancer(running, {"instance-1"}), settings(site, Probe(path="/ready/")))
    assert said is not None
    assert "v1 on instance-1 does not answer (ConnectError)" in said


def test_a_probe_that_what_serves_answers_may_be_changed(site: StandInSite) -> None:
    balancer = StandInBalancer(settings(site), {"instance-1"})
    wanted = settings(site, replace(OLD, headers={"X-Probe": "yes"}, timeout_seconds=5))
    assert fault(balancer, wanted) is None
    assert site.asked[0].headers["X-Probe"] == "yes"


def test_nothing_is_asked_where_nothing_is_to_be_protected(site: StandInSite) -> None:
    changed = settings(site, Probe(path="/ready/"))
    assert fault(StandInBalancer(None), changed) is None, "a first release"
    assert fault(StandInBalancer(settings(site)), changed) is None, "all down"
    assert fault(StandInBalancer(settings(site), {"instance-1"}), settings(site)) is None, "unchanged"
    gone = replace(changed, instances={})
    assert fault(StandInBalancer(settings(site), {"instance-1"}), gone) is None, "it leaves"
    assert site.asked == []
