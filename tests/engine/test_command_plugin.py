"""The command plugin under a real engine: what its contract tests cannot show of state, display, signals."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil

from tests.engine.conftest import STACK, Project


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_command_lives_through_create_no_change_update_replacement_and_destroy(project: Project):
    said = project.folder / "said"

    def program(create: str, trigger: str) -> None:
        project.program(f"""
            from pulumi_command import local
            c = local.Command(
                "c",
                create="echo {create} | tee -a {said}",
                delete="echo deleted >> {said}",
                triggers=["{trigger}"],
            )
            pulumi.export("stdout", c.stdout)
        """)

    program("one", "a")
    project.up()
    assert project.output("stdout") == "one"
    assert "unchanged" in project.up()
    program("two", "a")
    assert "1 updated" in project.up()
    program("two", "b")
    assert "1 replaced" in project.up()
    project.pulumi("destroy", "--yes", "--stack", STACK)
    assert said.read_text().split() == ["one", "two", "two", "deleted", "deleted"]


def test_a_failure_shows_the_end_of_stderr_and_the_next_up_converges(project: Project):
    program = """
        from pulumi_command import local
        first = local.Command("first", create="echo ok")
        bad = local.Command("bad", create="{create}", opts=pulumi.ResourceOptions(depends_on=[first]))
        local.Command("after", create="echo after", opts=pulumi.ResourceOptions(depends_on=[bad]))
    """
    project.program(program.format(create="seq 100000 >&2; echo the reason >&2; exit 3"))
    output = project.up(fails=True)
    assert "exit status 3" in output
    assert "the reason" in output
    assert {"first"} == project.resources().keys() & {"first", "bad", "after"}
    project.program(program.format(create="true"))
    assert "2 created" in project.up()


def test_secrets_are_encrypted_in_the_state_and_not_displayed(project: Project):
    project.program("""
        from pulumi_command import local
        hush = pulumi.Output.secret("-".join(["hush", "7f3a"]))
        c = local.Command("c", create='echo ${#A}', environment={"A": hush})
        pulumi.export("stdout", c.stdout)
    """)
    assert "hush-7f3a" not in project.up("--diff")
    assert project.output("stdout") == "9"
    files = [file for file in (project.folder / "state").rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if b"hush-7f3a" in file.read_bytes()]


def test_big_and_binary_outputs_leave_the_state_usable(project: Project):
    project.program("""
        from pulumi_command import local
        big = local.Command("big", create="head -c 20000000 /dev/zero | tr '\\\\0' x", logging="none")
        binary = local.Command("binary", create="printf 'a\\\\377b'")
        pulumi.export("length", big.stdout.apply(len))
        pulumi.export("binary", binary.stdout)
    """)
    project.up()
    assert "unchanged" in project.up()
    assert project.output("length") == 20_000_000
    assert project.output("binary") == "a\N{REPLACEMENT CHARACTER}b"


def test_files_and_the_invoke_work_from_a_program(project: Project):
    project.program("""
        from pulumi_command import local
        c = local.Command(
            "c", create="echo made > made.txt", dir="files", asset_paths=["*.txt"], archive_paths=["*.txt"]
        )
        local.Command("with-archive", create="true", triggers=[c.archive])
        pulumi.export("assets", c.assets.apply(lambda assets: list(assets)))
        run = local.run_output(command="echo $X", environment={"X": c.stderr.apply(lambda _: "x")})
        pulumi.export("run", run.stdout)
    """)
    (project.folder / "files").mkdir()
    project.up()
    assert project.output("assets") == ["made.txt"]
    assert project.output("run") == "x"
    assert "unchanged" in project.up()


SLEEPING = """
    from pulumi.dynamic import CreateResult, Resource, ResourceProvider
    from pulumi_command import local

    class Provider(ResourceProvider):
        def create(self, props):
            return CreateResult("id", {})

    class Dynamic(Resource):
        def __init__(self, name):
            super().__init__(Provider(), name, {})

    dynamic = Dynamic("dynamic")
    local.Command(
        "sleeps",
        create="trap 'echo put right; exit 3' TERM; (sh -c 'sleep 60' &); touch %s; sleep 60 & wait",
        opts=pulumi.ResourceOptions(depends_on=[dynamic]),
    )
"""


def start_sleeping(
    project: Project, program: str = SLEEPING, *options: str
) -> tuple[Any, list[psutil.Process]]:
    """An `up` in the middle of a command, and every process that came of it."""
    started = project.folder / "started"
    project.program(program % started)
    up = project.start("up", "--yes", "--skip-preview", "--stack", STACK, *options)
    wait_for(started.exists)
    return up, psutil.Process(up.pid).children(recursive=True)


def test_ctrl_c_lets_the_running_command_put_right_what_it_has_begun(project: Project):
    up, children = start_sleeping(project)
    os.kill(up.pid, signal.SIGINT)
    output, _ = up.communicate(timeout=30)
    assert up.returncode != 0
    assert "put right" in output
    assert "exit status 3" in output
    wait_for(lambda: not any(child.is_running() for child in children))
    assert "sleeps" not in project.resources()


def test_a_second_ctrl_c_leaves_nothing_running_that_heeds_no_signal(project: Project):
    up, children = start_sleeping(project, SLEEPING.replace("echo put right; exit 3", ""))
    os.kill(up.pid, signal.SIGINT)
    assert up.stdout
    for line in up.stdout:
        if "cancelling" in line:
            break
    os.kill(up.pid, signal.SIGINT)
    up.communicate(timeout=30)
    wait_for(lambda: not any(child.is_running() for child in children))


def test_after_a_kill_of_the_engine_nothing_is_left_running_and_the_next_up_converges(project: Project):
    pack = project.policy_pack("")
    up, children = start_sleeping(project, SLEEPING, "--policy-pack", str(pack))
    names = " ".join(" ".join(child.cmdline()) for child in children)
    parts = ("language-python-exec", "toolchain.serve command", "pulumi.dynamic", "pulumi.policy", "sleep 60")
    for part in parts:
        assert part in names
    os.kill(up.pid, signal.SIGKILL)
    up.communicate(timeout=30)
    wait_for(lambda: not any(child.is_running() for child in children))
    project.program((SLEEPING % "started").replace("sleep 60", "true"))
    output = project.up()
    assert "removed the lock" in output
    assert {"dynamic", "sleeps"} <= project.resources().keys()


def test_a_preview_runs_nothing_and_shows_outputs_as_unknown(project: Project):
    project.program("""
        from pulumi_command import local
        c = local.Command("c", create="touch ran")
        pulumi.export("stdout", c.stdout)
    """)
    output = project.pulumi("preview", "--stack", STACK)
    assert "2 to create" in output
    assert "stdout: [unknown]" in output
    assert not (project.folder / "ran").exists()
