"""The attendant does what is due by the record, and begins anew with each release that is handed over."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from components.local.layout import Layout
from components.release import review, watch
from components.release.context import PASSPHRASE, SPEC, TARGET, Context
from components.release.record import Release
from relevo import attend, recovery
from relevo.errors import RelevoError
from tests.unit.release.conftest import VERSIONS, released
from tests.unit.release.stand_in import Slot, StandInOperations, image, specification, target_json


class Again(Exception):
    """The attendant has begun anew."""


class Attended:
    """v2 was released over v1 and handed over; what the attendant asked for stands in `done`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layout = Layout(folder / "state")
        self.layout.root.mkdir()
        self.layout.logs.mkdir()
        self.operations = StandInOperations({})
        self.operations.manifests = {image(known.version): known for known in VERSIONS}
        released(self.operations, "v1")
        self.context, _ = released(self.operations, "v2")
        self.done: list[str] = []
        self.fault: Exception | None = None
        self.comes_back = True
        self.described = {TARGET: target_json(), SPEC: specification().to_json()}
        (folder / "Pulumi.local.yaml").write_text("config:\n  relevo:onFailure: rollback\n")
        for name in ("instance-1", "instance-2"):
            self.operations.slots[name] = Slot()
        monkeypatch.chdir(folder)
        monkeypatch.setattr(Context, "load", lambda *_: self.context)
        monkeypatch.setattr(attend, "POLL_SECONDS", 0.01)
        monkeypatch.setattr(attend, "AGAIN_SECONDS", 0.02)
        monkeypatch.setattr(watch, "watch", self._watch)
        monkeypatch.setattr(recovery, "recover", self._recover)
        monkeypatch.setattr("relevo.pin.pinned", lambda _: self.context.spec.image)
        monkeypatch.setattr(os, "execv", self._anew)

    def _anew(self, *_: object) -> None:
        raise Again

    def _watch(self, context: Context, release: Release, **options: Any) -> Any:
        self.done.append(f"watched {release.version}")
        assert options["until_breach"] is self.comes_back
        found = {"measure": "errors-5xx", "found": "5 %", "before": "0 %"}
        context.write("watch breached", release.id, data=found)
        goes_back = options["until_breach"]
        context.write("watch done", release.id, data={"verdict": "breached", "goes_back": goes_back})
        return type("Judged", (), {"verdict": "breached", "why": "It is."})

    def _recover(self, *_: object, **options: Any) -> None:
        assert options["context"] is self.context
        self.done.append("went back")
        os.write(1, b"what the engine says\n")
        if self.fault:
            raise self.fault
        self.context.write("recovery failed", self.context.current().id, error="once is enough")

    def run(self, seconds: float = 0.3) -> None:
        """For so long, after which another release is handed over."""
        self.layout.handed_over.write_text(json.dumps(self.described))
        other = threading.Timer(seconds, lambda: self.layout.handed_over.write_text("{} "))
        other.start()
        with pytest.raises(Again):
            attend.main(self.layout.root, "local")
        other.join()


@pytest.fixture
def attended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attended:
    return Attended(tmp_path, monkeypatch)


def test_a_breach_is_gone_back_from_once_and_the_engine_writes_into_a_file(attended: Attended) -> None:
    """The supervisor's pipe would end with an attendant that is killed, and with it the release."""
    attended.run()
    assert attended.done == ["watched v2", "went back"]
    assert "what the engine says" in attended.layout.log("way-back").read_text()


def test_a_fault_is_said_and_the_attendant_stays(
    attended: Attended, capfd: pytest.CaptureFixture[str]
) -> None:
    attended.fault = RelevoError("incorrect passphrase.")
    attended.run()
    assert attended.done[:3] == ["watched v2", "went back", "went back"]
    assert "incorrect passphrase." in capfd.readouterr().out


def test_a_fault_that_nobody_foresaw_does_not_end_it(attended: Attended) -> None:
    attended.fault = ZeroDivisionError("nobody foresaw it")
    attended.run()
    assert attended.done.count("went back") >= 2


def test_a_stack_that_does_not_ask_for_it_is_left_as_it_is(attended: Attended) -> None:
    Path("Pulumi.local.yaml").write_text("config:\n  relevo:onFailure: stop\n")
    attended.comes_back = False
    attended.run()
    assert attended.done == ["watched v2"]


def test_what_people_have_kept_is_not_gone_back_from_once_the_stack_asks_for_it(attended: Attended) -> None:
    """The breach may be a week old."""
    Path("Pulumi.local.yaml").write_text("config:\n  relevo:onFailure: stop\n")
    attended.comes_back = False
    attended.run()
    Path("Pulumi.local.yaml").write_text("config:\n  relevo:onFailure: rollback\n")
    attended.run()
    assert attended.done == ["watched v2"]


def test_a_passphrase_that_only_the_terminal_had_is_said_to_be_missing(attended: Attended) -> None:
    """Once, and to everybody, and nothing is pinned."""
    attended.described[PASSPHRASE] = "set"
    attended.run()
    assert attended.done == ["watched v2"]
    failed = [entry.error for entry in attended.operations.entries() if entry.event == "recovery failed"]
    assert failed == [attend.LOCKED]


def test_a_review_that_is_due_is_done(attended: Attended, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "due", lambda *_: None)
    monkeypatch.setattr(review, "due", lambda known, *_: known[-1] if not attended.done else None)
    monkeypatch.setattr(review, "review", lambda *_: attended.done.append("reviewed"))
    attended.run()
    assert attended.done == ["reviewed"]


def test_a_way_back_that_a_killed_attendant_has_begun_is_waited_for(attended: Attended) -> None:
    """Its engine goes on, and has the log."""
    log = attended.layout.log("way-back")
    with log.open("ab") as file:
        engine = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(1); print('done', flush=True)"], stdout=file
        )
        fcntl.flock(file, fcntl.LOCK_EX)
    attended.run(2.0)
    assert engine.wait() == 0
    assert log.read_text().splitlines() == ["done", "what the engine says"]
