"""An instance is taken out, replaced, proved and put back; what really runs is told by its workers."""

from __future__ import annotations

import io
import itertools
import threading
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.azure.container_log import Log
from components.azure.login import Clients
from components.azure.operations import AzureOperations
from components.azure.rotation import Minute, Rotation, quiet
from components.target import Deployment, TargetError
from tests.azure.arm_stand_in import SUBSCRIPTION, ArmStandIn

RELEASE = "20261124T140210Z-v2"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def wanted(images: list[str]) -> Deployment:
    return Deployment(image=images[1], version="v2", release=RELEASE)


def _rolled(operations: AzureOperations, name: str, wanted: Deployment) -> None:
    operations.drain(name, timeout=10)
    operations.replace(name, wanted)
    for _ in range(10):
        if operations.deployed(name) == wanted:
            break
    assert operations.startup_errors(name) == []
    operations.admit(name, timeout=10)


def test_two_instances_are_rolled_with_one_in_rotation_at_any_time(
    operations: AzureOperations, azure: ArmStandIn, images: list[str], wanted: Deployment
) -> None:
    first = Deployment(image=images[0], version="v1", release="20261124T120000Z-v1")
    for deployment in (first, wanted):
        for origin in azure.origins.values():
            origin.lag, origin.provisioning = 5, 2
        for name in ("instance-1", "instance-2"):
            _rolled(operations, name, deployment)
            assert operations.instance(name).in_rotation
            assert operations.deployed(name) == deployment
    assert azure.fewest_in_rotation == 1
    assert {site.runs() for site in azure.sites.values()} == {"v2"}
    changes = azure.asked(r"^(PATCH .*(origins/|sites/)|POST .*/start)")
    order = [url.partition("?")[0].rpartition("/")[2] for url in changes][-8:]
    assert order == [
        *("instance-1", "app-assets-test-1", "start", "instance-1"),
        *("instance-2", "app-assets-test-2", "start", "instance-2"),
    ]


def test_a_removed_instance_serves_while_others_are_rolled_and_is_drained_once(
    operations: AzureOperations, azure: ArmStandIn, wanted: Deployment
) -> None:
    site = azure.site("app-assets-test-3")
    removed = azure.origin(
        "instance-3", instance="instance-3", site=site.name, host=f"{site.name}.azurewebsites.net"
    )
    for name in ("instance-1", "instance-2"):
        _rolled(operations, name, wanted)
    assert removed.state == "Enabled"
    operations.retire()
    assert removed.state == "Disabled"
    operations.retire()
    assert len(azure.asked("^PATCH .*origins/instance-3")) == 1


def test_one_request_gives_a_site_its_image_its_settings_and_its_command(
    operations: AzureOperations, azure: ArmStandIn, images: list[str], wanted: Deployment
) -> None:
    operations.replace("instance-1", wanted)
    site = azure.sites["app-assets-test-1"]
    assert len(azure.asked(r"^(PATCH|PUT) .*/sites/app-assets-test-1")) == 1
    assert site.image == f"DOCKER|crassetstest.azurecr.io/{images[1]}"
    assert site.command.startswith(
        "/relevo/bin/python -P -m components.azure.start web -- /app/.venv/bin/python -m gunicorn"
    )
    assert "--workers 3 --threads 4" in site.command
    settings = site.settings
    assert (
        settings["SECRET_KEY"]
        == "@Microsoft.KeyVault(SecretUri=https://kv-assets-test.vault.azure.net/secrets/secret-key/)"
    )
    assert settings["WEBSITE_WARMUP_PATH"] == "/health/"
    assert settings["WEBSITE_WARMUP_STATUSES"] == "200"
    assert not [value for value in settings.values() if "value-of-" in value]


def test_settings_that_arm_leaves_out_in_silence_are_noticed(
    operations: AzureOperations, azure: ArmStandIn, wanted: Deployment
) -> None:
    azure.sites["app-assets-test-1"].ignores.add("appSettings")
    with pytest.raises(TargetError, match="app-assets-test-1 has another appSettings than it was just given"):
        operations.replace("instance-1", wanted)


def test_a_split_version_is_found_and_told_until_all_workers_run_the_same(
    operations: AzureOperations,
    azure: ArmStandIn,
    images: list[str],
    wanted: Deployment,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site = azure.sites["app-assets-test-1"]
    before = Deployment(image=images[0], version="v1", release="one")
    operations.replace("instance-1", before)
    assert [operations.deployed("instance-1") for _ in range(2)] == [None, before]
    capsys.readouterr()

    stale = site.workers[1]
    site.stale.add(stale)
    operations.replace("instance-1", wanted)
    assert [operations.deployed("instance-1") for _ in range(3)] == [None] * 3
    told = capsys.readouterr().out
    assert f"{site.workers[0][:8]} v2 of {RELEASE}" in told
    assert f"{stale[:8]} v1 of one" in told
    assert told.count("instance-1:") == 1

    site.stale.clear()
    operations.replace("instance-1", wanted)
    assert [operations.deployed("instance-1") for _ in range(2)] == [None, wanted]


def test_a_start_before_the_last_replacing_proves_nothing(
    operations: AzureOperations, azure: ArmStandIn, wanted: Deployment
) -> None:
    operations.replace("instance-1", wanted)
    while operations.deployed("instance-1") != wanted:
        pass
    azure.sites["app-assets-test-1"].stale.update(azure.sites["app-assets-test-1"].workers)
    operations.replace("instance-1", wanted)
    assert operations.deployed("instance-1") is None


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (None, "the archive of its log is damaged, BadZipFile"),
        (404, "Azure answers 404 to who asks for its log"),
        (502, "Azure answers 502 to who asks for its log"),
    ],
)
def test_a_log_that_cannot_be_read_for_once_is_asked_for_again(
    operations: AzureOperations,
    azure: ArmStandIn,
    wanted: Deployment,
    capsys: pytest.CaptureFixture[str],
    status: int | None,
    told: str,
) -> None:
    """Azure packs it while containers start and write (Azure/azure-cli#23738), which ends no good roll."""
    operations.replace("instance-1", wanted)
    while operations.deployed("instance-1") != wanted:
        pass
    if status is None:
        azure.sites["app-assets-test-1"].halves = 2
    else:
        azure.fail("POST", "/app-assets-test-1/containerlogs/zip/download", status=status, times=2)
    assert operations.startup_errors("instance-1") == []
    assert operations.deployed("instance-1") is None
    assert f"instance-1: its workers run what cannot be read now ({told})" in capsys.readouterr().out
    assert operations.deployed("instance-1") == wanted


@pytest.mark.parametrize("length", [1, 30, -1])
def test_no_part_of_an_archive_is_a_fault(length: int) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as files:
        files.writestr("2026_11_24_lw0_default_docker.log", "a line\n" * 1000)
    assert Log.of(whole.getvalue()[:length]).fault == "the archive of its log is damaged, BadZipFile"
    assert Log.of(whole.getvalue()).fault is None
    torn = bytearray(whole.getvalue())
    torn[70:74] = b"\xff" * 4
    assert (Log.of(bytes(torn)).fault or "").startswith("the archive of its log is damaged, ")


def test_who_may_not_read_the_log_is_told_so(
    operations: AzureOperations, azure: ArmStandIn, wanted: Deployment
) -> None:
    operations.replace("instance-1", wanted)
    azure.fail("POST", "/containerlogs/zip/download", status=403)
    with pytest.raises(TargetError, match=r"cannot read the log of the site app-assets-test-1: .* 403"):
        operations.deployed("instance-1")


def test_an_old_image_with_new_settings_is_never_the_release(
    operations: AzureOperations, azure: ArmStandIn, wanted: Deployment
) -> None:
    azure.sites["app-assets-test-1"].built = "v1"
    operations.replace("instance-1", wanted)
    assert [operations.deployed("instance-1") == wanted for _ in range(3)] == [False] * 3
    assert operations.startup_errors("instance-1") == [
        "[CRITICAL] relevo: this image is v1, but v2 was asked for"
    ]


def test_a_crash_at_start_is_told_by_its_exception(
    operations: AzureOperations, azure: ArmStandIn, images: list[str], wanted: Deployment
) -> None:
    azure.sites["app-assets-test-1"].crashing[images[1]] = [
        "Traceback (most recent call last):",
        '  File "/app/site/settings.py", line 3, in <module>',
        "KeyError: 'MAIL_PASSWORD'",
        "[ERROR] Worker (pid:7) exited with code 3",
    ]
    operations.replace("instance-1", wanted)
    assert operations.startup_errors("instance-1") == [
        "KeyError: 'MAIL_PASSWORD'",
        "[ERROR] Worker (pid:7) exited with code 3",
    ]


def test_an_image_that_the_platform_cannot_pull_is_told(
    operations: AzureOperations, azure: ArmStandIn, wanted: Deployment
) -> None:
    azure.sites["app-assets-test-1"].platform = [
        "2026-11-01T10:00:00.000Z ERROR - of another start, long ago",
        "2099-01-01T10:00:00.000Z ERROR - Pull image failed with 401 Unauthorized",
    ]
    operations.replace("instance-1", wanted)
    assert operations.startup_errors("instance-1") == ["ERROR - Pull image failed with 401 Unauthorized"]


def test_an_instance_gets_no_traffic_before_its_secrets_resolve(
    operations: AzureOperations, azure: ArmStandIn, wanted: Deployment
) -> None:
    operations.replace("instance-1", wanted)
    references = azure.sites["app-assets-test-1"].references
    references["SECRET_KEY"] = "AccessToKeyVaultDenied"
    assert operations.startup_errors("instance-1") == [
        "SECRET_KEY has no value from the vault (AccessToKeyVaultDenied)"
    ]
    with pytest.raises(TargetError, match=r"SECRET_KEY of instance-1 .* AccessToKeyVaultDenied"):
        operations.admit("instance-1", timeout=5)
    assert not operations.instance("instance-1").in_rotation
    references["SECRET_KEY"] = "Initialized"
    assert operations.startup_errors("instance-1") == []
    with pytest.raises(TargetError, match=r"Initialized, but it is given 0\.2 s; raise .*readySeconds"):
        operations.admit("instance-1", timeout=0.2)
    assert not operations.instance("instance-1").in_rotation


def test_secrets_that_are_being_read_are_waited_for(
    operations: AzureOperations, azure: ArmStandIn, wanted: Deployment
) -> None:
    operations.replace("instance-1", wanted)
    references = azure.sites["app-assets-test-1"].references
    references["SECRET_KEY"] = "FetchTimedOut"
    threading.Timer(0.3, references.clear).start()
    operations.admit("instance-1", timeout=30)
    assert references == {}
    assert operations.instance("instance-1").in_rotation


def test_a_withdrawn_instance_is_stopped_and_starts_again_when_replaced(
    operations: AzureOperations, azure: ArmStandIn, wanted: Deployment
) -> None:
    operations.replace("instance-1", wanted)
    operations.withdraw("instance-1")
    instance = operations.instance("instance-1")
    assert (instance.running, instance.in_rotation) == (False, False)
    operations.replace("instance-1", wanted)
    assert operations.instance("instance-1").running


def test_an_instance_says_how_it_is_reached(
    operations: AzureOperations, azure: ArmStandIn, facts: dict[str, Any]
) -> None:
    instance = operations.instance("instance-2")
    assert instance.deployment is None
    assert instance.address == facts["sites"]["instance-2"]["verify_url"]
    assert instance.access_headers == {"X-Relevo-Verify": "value-of-relevo-verify"}


def test_draining_fails_when_the_public_still_meets_the_instance(
    operations: AzureOperations, azure: ArmStandIn, wanted: Deployment
) -> None:
    operations.replace("instance-1", wanted)
    azure.origins["instance-1"].set("Enabled")
    azure.origins["instance-1"].at_edge = True
    azure.origins["instance-1"].lag = 10**9
    with pytest.raises(
        TargetError,
        match=r"instance-1 is not drained after 1 s \(only \d of 10 public requests.*drainSeconds",
    ):
        operations.drain("instance-1", timeout=1)


def test_draining_fails_when_nobody_else_answers(
    operations: AzureOperations, azure: ArmStandIn, wanted: Deployment
) -> None:
    operations.replace("instance-1", wanted)
    azure.origins["instance-2"].at_edge = False  # ill, as the edge sees it, and for long
    azure.origins["instance-2"].lag = 10**9
    azure.origins["instance-2"].set("Enabled")
    with pytest.raises(TargetError, match="only 0 of 10"):
        operations.drain("instance-1", timeout=0.5)


def test_the_only_instance_in_rotation_stays_there(operations: AzureOperations, azure: ArmStandIn) -> None:
    operations.drain("instance-2", timeout=5)
    with pytest.raises(
        TargetError, match=r"instance-1 is the only instance in rotation, .*az afd origin update"
    ):
        operations.drain("instance-1", timeout=5)
    assert operations.instance("instance-1").in_rotation


def test_a_change_that_front_door_does_not_take_stops_the_roll(
    operations: AzureOperations, azure: ArmStandIn
) -> None:
    azure.origins["instance-1"].fails = True
    with pytest.raises(TargetError, match="Front Door failed to set the origin instance-1 to Disabled"):
        operations.drain("instance-1", timeout=5)
    azure.origins["instance-1"].fails = False
    operations.admit("instance-1", timeout=5)
    azure.origins["instance-2"].provisioning = 10**9
    with pytest.raises(TargetError, match=r"instance-2 is Disabled \(Updating\)"):
        operations.drain("instance-2", timeout=0.5)


def test_a_drain_that_was_killed_asks_for_no_change_again(
    operations: AzureOperations, azure: ArmStandIn
) -> None:
    operations.drain("instance-1", timeout=5)
    operations.drain("instance-1", timeout=5)
    assert len(azure.asked("^PATCH .*origins/instance-1")) == 1


# -- Front Door's own count ----------------------------------------------------------------------------
HOST, OTHER = "one.example", "two.example"


@pytest.mark.parametrize(
    ("counts", "now", "drained"),
    [
        pytest.param([], 2, False, id="nothing is known yet"),
        pytest.param([], 7, True, id="nothing came, and what there was is processed by now"),
        pytest.param([(1, OTHER, 9)], 2.5, False, id="the minute may be counted in part"),
        pytest.param([(1, OTHER, 9), (2, OTHER, 9)], 2.5, True, id="a later minute has been counted"),
        pytest.param([(1, HOST, 1), (2, OTHER, 9)], 2.5, False, id="a request in the whole minute"),
        pytest.param(
            [(0, HOST, 5), (1, OTHER, 9), (2, OTHER, 9)], 2.5, True, id="only before the change was through"
        ),
        pytest.param([(1, OTHER, 9), (2, HOST, 1), (3, OTHER, 1)], 3.5, False, id="one came back"),
    ],
)
def test_a_whole_minute_without_a_request_is_what_front_door_has_counted(
    counts: list[tuple[int, str, float]], now: float, drained: bool
) -> None:
    minutes = [Minute(NOON + n * MINUTE, {host: value}) for n, host, value in counts]
    since = NOON + timedelta(seconds=20)
    assert quiet(minutes, HOST, since=since, now=NOON + now * MINUTE, wanted=1) is drained


def test_a_drained_instance_is_one_that_front_door_counts_no_request_of(
    azure: ArmStandIn, facts: dict[str, Any]
) -> None:
    """Also where no header tells who answers, as with a project that does not send one."""
    clock = (NOON + timedelta(seconds=20 * n) for n in itertools.count())
    hosts = {name: site["host"] for name, site in facts["sites"].items() if site["host"]}
    rotation = Rotation(
        Clients(SUBSCRIPTION),
        group="rg",
        profile="afd",
        origin_group="app",
        origins=facts["front_door"]["origins"],
        hosts=hosts,
        public_url=azure.public_url,
        probe={**facts["app"]["probe"], "instance_header": None},
        clock=lambda: next(clock),
        pause=0.01,
    )
    first, second = hosts["instance-1"], hosts["instance-2"]
    azure.counts = {
        first: {NOON: 40.0, NOON + MINUTE: 3.0},
        second: {NOON + n * MINUTE: 30.0 for n in range(60)},
    }
    rotation.remove("instance-1", timeout=10)
    assert next(clock) >= NOON + 3 * MINUTE

    azure.counts[first] = {NOON + n * MINUTE: 1.0 for n in range(1000)}
    with pytest.raises(TargetError, match="Front Door counts requests to it, or has not counted yet"):
        rotation.remove("instance-1", timeout=0.5)

    azure.health = {first: {NOON + n * MINUTE: 100.0 for n in range(5000)}}
    rotation.add("instance-1", timeout=10)
    assert rotation.contains("instance-1")


def test_a_removed_instance_is_gone_only_once_front_door_counts_no_request_of_it(
    azure: ArmStandIn, facts: dict[str, Any]
) -> None:
    clock = (NOON + timedelta(seconds=20 * n) for n in itertools.count())
    hosts = {name: site["host"] for name, site in facts["sites"].items() if site["host"]}
    left, removed = hosts["instance-1"], hosts["instance-2"]
    rotation = Rotation(
        Clients(SUBSCRIPTION),
        group="rg",
        profile="afd",
        origin_group="app",
        origins={"instance-1": "instance-1"},
        hosts=hosts,
        public_url=azure.public_url,
        probe=facts["app"]["probe"],
        clock=lambda: next(clock),
        pause=0.01,
    )
    everything = {left: {NOON + n * MINUTE: 30.0 for n in range(1000)}}
    azure.counts = {**everything, removed: {NOON + n * MINUTE: 1.0 for n in range(1000)}}
    with pytest.raises(TargetError, match=r"^instance-2 is no instance any more, but after 0\.3 s"):
        rotation.retire({}, timeout=0.3)
    azure.counts = everything
    rotation.retire({}, timeout=10)
    assert azure.origins["instance-2"].state == "Disabled"
    # A site whose instance has moved to another region has no origin any more.
    azure.counts = {**everything, "app-old.azurewebsites.net": {NOON + n * MINUTE: 1.0 for n in range(1000)}}
    with pytest.raises(TargetError, match=r"^app-old is no instance any more, but after 0\.3 s"):
        rotation.retire({"app-old": "app-old.azurewebsites.net"}, timeout=0.3)


# -- further processes ---------------------------------------------------------------------------------
def test_a_process_is_a_new_revision_of_its_container_app(
    operations: AzureOperations, azure: ArmStandIn, images: list[str], wanted: Deployment
) -> None:
    app = azure.container_apps["ca-assets-test-worker"]
    assert operations.instance("worker").deployment is None
    operations.replace("worker", wanted)
    assert operations.deployed("worker") == wanted
    assert operations.startup_errors("worker") == []
    instance = operations.instance("worker")
    assert (instance.deployment, instance.running, instance.address) == (wanted, True, None)
    assert app.template.containers
    container = app.template.containers[0]
    assert container.image == f"crassetstest.azurecr.io/{images[1]}"
    assert list(container.command or [])[-5:] == ["--", "/app/.venv/bin/celery", "-A", "site", "worker"]
    environment = {each.name: each for each in container.env or []}
    assert environment["SECRET_KEY"].value == (
        "@Microsoft.KeyVault(SecretUri=https://kv-assets-test.vault.azure.net/secrets/secret-key/)"
    )
    assert environment["QUEUE"].value == "all"

    app.restarts = 2
    assert operations.startup_errors("worker") == [
        "process of ca-assets-test-worker-0 was started again: CrashLoopBackOff: exit code 1"
    ]
    operations.withdraw("worker")
    assert not operations.instance("worker").running
    assert operations.deployed("worker") is None
    operations.replace("worker", wanted)
    assert operations.instance("worker").running
