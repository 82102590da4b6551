"""Messages as they arrive: at a real mail server and a real web server, through apprise itself."""

from __future__ import annotations

import email
import email.policy
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as Handler

from components.release import delivery
from components.release.delivery import Delivery
from components.release.messages import Message
from components.release.spec import Receiver
from tests.unit.release.stand_in import Answer, Asked, StandInOperations, serving

ROOT = Path(__file__).parents[3]
MESSAGE = Message(
    title="Reversión a v1 completada",
    sentences=(
        "La reversión de José Ibáñez <jose@site.example> se completó.",
        "Siguiente paso: ninguno, ¿de acuerdo?",
    ),
)
LINE = {"event": "rolled-back", "release": "1-v1", "verdict": "succeeded"}
TOKEN = "t0ken-of-the-hook"
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # in apprise


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PAUSES", (0.01, 0.02))


def sent(operations: StandInOperations, *urls: str, within: float = 10.0) -> list[Delivery]:
    receivers = [Receiver(console=False, file=None, url=url, apprise_secret=None) for url in urls]
    made = [
        Delivery(name=f"{number} (url)", receiver=receiver, message=MESSAGE)
        for number, receiver in enumerate(receivers, start=1)
    ]
    delivery.deliver(operations, made, "success", LINE, within=within)
    return made


class Mailbox(Handler):
    def __init__(self) -> None:
        super().__init__()
        self.mails: list[EmailMessage] = []
        self.to: list[str] = []

    def prepare_message(self, session, envelope):
        self.to += envelope.rcpt_tos
        assert isinstance(envelope.content, bytes)
        parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        self.mails.append(parsed)
        return parsed

    def handle_message(self, message) -> None:
        pass


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, str]]:
    """A mail server, and where it listens."""
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    yield box, f"127.0.0.1:{port}"
    server.stop()


def test_a_mail_arrives_whole_with_its_accents(operations, mailbox: tuple[Mailbox, str]) -> None:
    box, address = mailbox
    url = f"mailto://{address}?from=relevo@site.example&to=equipo@site.example&mode=insecure"
    (made,) = sent(operations, url)
    assert (made.outcome, made.tries) == ("told", 1)
    (mail,) = box.mails
    assert box.to == ["equipo@site.example"]
    assert mail["Subject"] == MESSAGE.title
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content_charset() == "utf-8"
    assert mail.get_content().splitlines() == list(MESSAGE.sentences)


def test_a_webhook_that_fails_twice_is_told_once(operations) -> None:
    answers = iter((500, 500, 200))
    with serving(lambda _: Answer(status=next(answers))) as site:
        (made,) = sent(operations, site.url.replace("http://", "json://") + "/hook")
    assert (made.outcome, made.tries) == ("told", 3)
    assert len(site.asked) == 3
    assert site.asked[-1].json["title"] == MESSAGE.title
    assert site.asked[-1].json["message"] == "\n".join(MESSAGE.sentences)
    assert site.asked[-1].json["type"] == "success"


def test_a_webhook_that_always_fails_is_given_up(operations, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(lambda _: Answer(status=503)) as site:
        (made,) = sent(operations, site.url.replace("http://", "json://") + f"/{TOKEN}")
    assert (made.outcome, made.tries) == ("not told: it did not take the message", 3)
    assert len(site.asked) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "notify: receiver 1 (url) was not told: it did not take the message\n"


def test_one_that_never_answers_holds_nobody_up(operations) -> None:
    """Not the release, nor the receiver beside it."""
    sent(operations, "nothing://x")  # has apprise loaded
    over = threading.Event()

    def answer(asked: Asked) -> Answer:
        if asked.path == "/slow":
            over.wait(10)
        return Answer()

    with serving(answer) as site:
        began = time.monotonic()
        hook = site.url.replace("http://", "json://")
        slow, good = sent(operations, f"{hook}/slow", f"{hook}/good", within=0.4)
        took = time.monotonic() - began
        over.set()
    assert 0.3 < took < 1.0
    assert (slow.outcome, slow.tries) == ("not told: no answer in time", 1)
    assert (good.outcome, good.tries) == ("told", 1)


def test_one_that_never_answers_does_not_hold_up_the_end_of_the_step_either() -> None:
    """A step is a process of its own, which must end although a thread of it still waits."""
    program = """
import sys
from components.release import delivery
from components.release.delivery import Delivery
from components.release.messages import Message
from components.release.spec import Receiver
receiver = Receiver(console=False, file=None, url=sys.argv[1], apprise_secret=None)
made = Delivery(name="1 (url)", receiver=receiver, message=Message(title="t", sentences=("b.",)))
delivery.deliver(None, [made], "info", {}, within=1.2)
print(made.outcome)
"""
    over = threading.Event()
    with serving(lambda _: Answer(status=200 if over.wait(30) else 504)) as site:
        url = site.url.replace("http://", "json://") + "/?rto=60"
        done = subprocess.run(
            [sys.executable, "-c", program, url], cwd=ROOT, capture_output=True, text=True, timeout=30
        )
        over.set()
    assert done.stdout == "not told: no answer in time\n"
    assert done.returncode == 0


@pytest.mark.parametrize(
    "url",
    [
        f"json://127.0.0.1:1/{TOKEN}",
        f"mailto://user:{TOKEN}@127.0.0.1:1?to=a@b.example",
        f"nothing://{TOKEN}@x",
    ],
    ids=["nobody listens", "no mail server", "no such kind"],
)
def test_a_secret_url_is_nowhere_to_be_seen(
    operations, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, url: str
) -> None:
    operations.secrets["HOOK"] = url
    receiver = Receiver(console=False, file=None, url=None, apprise_secret="HOOK")
    made = Delivery(name="1 (secret url)", receiver=receiver, message=MESSAGE)
    delivery.deliver(operations, [made], "failure", LINE)
    said = capsys.readouterr()
    assert made.outcome.startswith("not told: ")
    assert TOKEN not in f"{said.out}{said.err}{caplog.text}{made.outcome}"
    assert "1 (secret url)" in said.err
