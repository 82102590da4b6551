"""The dynamic provider is the SDK's and does not watch the engine; the guard does it in its place."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []

    def start(script: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "relevo.toolchain.guard", "/bin/sh", "-c", script],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # as the engine starts it
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
        process.wait(timeout=10)


def test_the_program_keeps_its_arguments_output_and_exit_code(guard):
    process = guard("echo 'a  b'; exit 7")
    assert process.stdout.read() == "a  b\n"
    assert process.wait(timeout=10) == 7


def wait_until_gone(processes: list[psutil.Process]) -> None:
    deadline = time.monotonic() + 10
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_heeds_the_engines_signals_and_the_guard_waits_for_it(guard, number):
    process = guard("trap 'echo caught; exit 3' INT TERM; echo ready; while :; do sleep 0.05; done")
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, number)
    assert process.stdout.read() == "caught\n"
    assert process.wait(timeout=10) == 3


STUBBORN = "trap '' INT TERM; sleep 60 & echo $$ $!; wait"


def test_a_program_that_heeds_no_signal_is_gone_when_the_engine_kills_the_plugin(guard):
    process = guard(STUBBORN)
    children = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
    os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    wait_until_gone(children)


def test_when_the_engine_is_gone_the_program_and_its_children_are_killed(guard):
    process = guard(STUBBORN)
    children = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
    process.stdin.close()
    process.stdout.close()
    wait_until_gone([psutil.Process(process.pid), *children])
