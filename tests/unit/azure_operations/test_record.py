"""The record loses no line, and one step at a time has the stack."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from azure.core.exceptions import ServiceResponseError
from azure.storage.blob import BlobLeaseClient

from components.azure import record
from components.azure.operations import AzureOperations
from components.release import logbook
from components.release.chain import examine
from components.release.record import parse
from components.target import TargetError
from tests.azure.arm_stand_in import ArmStandIn


def test_what_is_appended_is_read(operations: AzureOperations) -> None:
    assert operations.read_record() == b""
    seen = []
    for line in ("one", "zwei: ü"):
        operations.append_record(lambda earlier, line=line: seen.append(earlier) or line)
    assert operations.read_record() == "one\nzwei: ü\n".encode()
    assert seen == [b"", b"one\n"]


def test_several_writers_lose_no_line(facts: dict[str, Any]) -> None:
    def write(writer: int) -> None:
        operations = AzureOperations(facts)
        for number in range(8):
            logbook.write(operations, "drill done", data={"writer": writer, "number": number})

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    written = AzureOperations(facts).read_record()
    chain = examine(written)
    assert (chain.count, chain.faults, chain.sealed) == (6 * 8, (), ())
    told = [entry.data for entry in parse(written)]
    for writer in range(6):
        assert [data["number"] for data in told if data["writer"] == writer] == list(range(8))


def test_a_line_whose_answer_was_lost_is_there_once(
    operations: AzureOperations, facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """azure-core asks again, and is told that the blob has moved on: by this very line."""
    from azure.core.pipeline.transport import RequestsTransport

    send, lost = RequestsTransport.send, []

    def losing(self: Any, request: Any, **options: Any) -> Any:
        response = send(self, request, **options)
        if "comp=appendblock" in request.url and not lost:
            lost.append(request.url)
            raise ServiceResponseError("the connection was closed")
        return response

    monkeypatch.setattr(RequestsTransport, "send", losing)
    operations.append_record(lambda _: "once")
    assert lost
    assert operations.read_record() == b"once\n"


def test_a_full_record_says_how_it_is_written_anew(
    operations: AzureOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.core.pipeline.transport import RequestsTransport

    send = RequestsTransport.send

    def refusing(self: Any, request: Any, **options: Any) -> Any:
        response = send(self, request, **options)
        if "comp=appendblock" in request.url:
            response.status_code = 409
            response.headers["x-ms-error-code"] = "BlockCountExceedsLimit"
        return response

    monkeypatch.setattr(RequestsTransport, "send", refusing)
    with pytest.raises(TargetError, match=r"has 50,000 entries.*write it anew in larger blocks"):
        operations.append_record(lambda _: "one too many")


def test_one_step_at_a_time(
    facts: dict[str, Any], azure: ArmStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    facts["limits"]["command_seconds"] = 0.3
    first, second = AzureOperations(facts), AzureOperations(facts)
    with first.exclusive("migrate"):
        with first.exclusive("migrate"):  # of the same step
            pass
        with (
            pytest.raises(TargetError, match=r"migrate of this stack still runs.*commandSeconds"),
            second.exclusive("check"),
        ):
            pass
        assert "waiting for migrate, which still runs" in capsys.readouterr().err
    with second.exclusive("check"):
        pass


def test_a_step_that_lost_the_lock_writes_nothing_more(
    facts: dict[str, Any], azure: ArmStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "RENEW_SECONDS", 0.02)
    operations = AzureOperations(facts)
    with operations.exclusive("migrate"):
        operations.append_record(lambda _: "mine")
        BlobLeaseClient(azure.blob(facts["storage"]["lock"], record.LOCK)).break_lease(0)
        BlobLeaseClient(azure.blob(facts["storage"]["lock"], record.LOCK)).acquire(15)
        lost = operations._record._lost
        assert lost.wait(10)
        with pytest.raises(TargetError, match="the stack's lock was lost in the middle of a step"):
            operations.append_record(lambda _: "not any more")
    assert operations.read_record() == b"mine\n"


def test_a_long_step_keeps_the_lock(
    facts: dict[str, Any], azure: ArmStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "RENEW_SECONDS", 0.02)
    renewed = threading.Event()
    renew = BlobLeaseClient.renew

    def telling(self: BlobLeaseClient, **options: Any) -> None:
        renew(self, **options)
        renewed.set()

    monkeypatch.setattr(BlobLeaseClient, "renew", telling)
    operations = AzureOperations(facts)
    with operations.exclusive("migrate"):
        assert renewed.wait(10)
        operations.append_record(lambda _: "still mine")
    assert operations.read_record() == b"still mine\n"
