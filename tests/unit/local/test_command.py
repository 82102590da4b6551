"""Commands of the project, and what becomes of them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from components.local import command
from components.masking import MASK
from components.target import Completed, TargetError


def run(code: str, folder: Path, *, timeout: float = 20.0, masked: tuple[str, ...] = ()) -> Completed:
    return command.run(
        [sys.executable, "-c", code], directory=folder, environment={}, timeout=timeout, masked=masked
    )


def test_both_outputs_are_streamed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run("import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)", tmp_path)
    assert (done.status, done.output) == (3, "out\nerr\n")
    assert capsys.readouterr().out == "out\nerr\n"


def test_secrets_are_masked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run("print('url=postgres://app:the-password@host')", tmp_path, masked=("the-password", "short"))
    assert done.output == f"url=postgres://app:{MASK}@host\n"
    assert "the-password" not in capsys.readouterr().out


def test_a_secret_is_masked_as_a_url_writes_it_and_a_short_one_is_a_word(tmp_path: Path) -> None:
    done = run("print('app:pass%2Fword%2B1@host is short')", tmp_path, masked=("pass/word+1", "short"))
    assert done.output == f"app:{MASK}@host is short\n"


def test_of_a_big_output_the_end_is_kept(tmp_path: Path) -> None:
    done = run("for i in range(200_000): print(f'line {i}')", tmp_path)
    assert len(done.output) <= command.KEPT_BYTES
    assert done.output.endswith("line 199999\n")


def test_what_is_not_text_does_no_harm(tmp_path: Path) -> None:
    done = run(r"import sys; sys.stdout.buffer.write(b'\xff\xfe\n')", tmp_path)
    assert done.status == 0


def test_at_the_time_limit_all_of_it_is_ended(tmp_path: Path) -> None:
    code = "import subprocess, time; subprocess.Popen(['sleep', '98.7']); time.sleep(98.7)"
    with pytest.raises(TargetError, match=r"takes longer than 0.5 s, but it is given no more"):
        run(code, tmp_path, timeout=0.5)
    assert not [process for process in psutil.process_iter() if "98.7" in " ".join(_command_line(process))]


def test_a_daemon_that_it_leaves_behind_does_not_hold_it(tmp_path: Path) -> None:
    started = time.monotonic()
    code = "import subprocess; subprocess.Popen(['sleep', '20'], start_new_session=True); print('done')"
    done = run(code, tmp_path)
    assert done.output == "done\n"
    assert time.monotonic() - started < 15


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
