"""The engine, the launcher and the Python language host together, as `make setup` leaves them."""

import os
import signal
import sys
from pathlib import Path

from tests.engine.conftest import STACK, Project
from tests.engine.test_command_plugin import wait_for


def test_a_program_gets_its_config_with_secrets_and_prints_to_the_display(project: Project):
    project.pulumi("config", "set", "plain", "p", "--stack", STACK)
    project.pulumi("config", "set", "hush", "h-5512", "--secret", "--stack", STACK)
    project.program("""
        config = pulumi.Config()
        print("printed by the program")
        pulumi.export("plain", config.require("plain"))
        pulumi.export("hush", config.require_secret("hush"))
        pulumi.export("where", f"{pulumi.get_project()}/{pulumi.get_stack()}")
    """)
    output = project.up()
    assert "printed by the program" in output
    assert "h-5512" not in output
    assert project.output("plain") == "p"
    assert project.output("where") == f"small/{STACK}"


def test_a_broken_program_shows_its_own_error(project: Project):
    project.program('raise ValueError("told you so")')
    output = project.up(fails=True)
    assert "told you so" in output
    assert "__main__.py" in output


def test_a_program_that_dies_is_an_error(project: Project):
    project.program("import os; os.kill(os.getpid(), 9)")
    assert "the program ended by SIGKILL" in project.up(fails=True)


def test_the_virtualenv_of_the_project_runs_the_program(project: Project, tmp_path: Path):
    """Not the Python that is first on PATH."""
    environment = tmp_path / "env"
    (environment / "bin").mkdir(parents=True)
    python = environment / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexport RUN_BY=env\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "Pulumi.yaml").write_text(
        "name: small\nruntime: {name: python, options: {virtualenv: env}}\n"
    )
    project.program("import os; pulumi.export('by', os.environ['RUN_BY'])")
    project.up()
    assert project.output("by") == "env"

    python.unlink()
    output = project.up(fails=True)
    assert "virtualenv in Pulumi.yaml is env, but" in output
    assert "create it with" in output


def test_ctrl_c_lets_the_program_clean_up(project: Project, tmp_path: Path):
    project.program("""
        import pathlib, signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path("cleaned").touch(), sys.exit(1)))
        pathlib.Path("started").touch()
        time.sleep(60)
    """)
    up = project.start("up", "--yes", "--skip-preview", "--stack", STACK)
    wait_for((tmp_path / "started").exists)
    os.kill(up.pid, signal.SIGINT)
    up.communicate(timeout=30)
    assert (tmp_path / "cleaned").exists()


def test_a_policy_pack_knows_the_stack_and_can_refuse(project: Project):
    pack = project.policy_pack("""
        if "rm" in args.props.get("create", ""):
            report(f"no rm in {pulumi.get_stack()} of {pulumi.Config('small').require('owner')}")
    """)
    project.pulumi("config", "set", "owner", "ana", "--stack", STACK)
    program = 'from pulumi_command import local; local.Command("c", create="{}")'
    project.program(program.format("rm x"))
    output = project.up("--policy-pack", str(pack), fails=True)
    assert f"no rm in {STACK} of ana" in output
    project.program(program.format("true"))
    assert "1 created" in project.up("--policy-pack", str(pack))


def test_about_names_the_interpreter_and_the_packages(project: Project):
    output = project.pulumi("about", "--stack", STACK)
    assert "python" in output
    assert "pulumi_command" in output
