"""The contract of pulumi-command 1.2.1 for `command:local`, which our plugin keeps in its place."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, provider_pb2

from relevo.toolchain.command_plugin import running
from relevo.toolchain.command_plugin.files import find_files, glob_pattern
from relevo.toolchain.command_plugin.inputs import input_differences
from relevo.toolchain.command_plugin.running import Group, go_quoted
from relevo.toolchain.command_plugin.wire import ASSET, SECRET, SIGNATURE, UNKNOWN, plain
from tests.unit.toolchain.conftest import URN, Plugin, secret, struct


def error_of(call: Callable[[], Any]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.details()  # type: ignore[attr-defined]  # an RpcError of a stub is a Call as well


def wait_for(condition: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


# --- what is accepted ------------------------------------------------------------------------------------


def test_handshake_and_configuration_say_that_secrets_are_understood(plugin: Plugin):
    assert plugin.stub.Handshake(provider_pb2.ProviderHandshakeRequest()).accept_secrets
    configured = plugin.stub.Configure(provider_pb2.ConfigureRequest())
    assert configured.acceptSecrets
    assert configured.supportsPreview
    assert plugin.stub.GetPluginInfo(empty_pb2.Empty()).version == "1.2.1"


def test_check_accepts_every_input_and_adds_the_default(plugin: Plugin):
    inputs = {
        "create": "a",
        "update": "b",
        "delete": "c",
        "dir": "/",
        "stdin": "x",
        "interpreter": ["bash", "-c"],
        "environment": {"A": "1"},
        "triggers": ["x", 1, {"y": [True]}],
        "logging": "stdoutAndStderr",
        "assetPaths": ["*"],
        "archivePaths": ["*"],
    }
    assert plugin.check(inputs) == ({**inputs, "addPreviousOutputInEnv": True}, [])


@pytest.mark.parametrize(
    ("inputs", "path", "reason"),
    [
        ({"craete": "x"}, "craete", "Unrecognized field 'craete'"),
        ({"create": 1}, "create", "must be a 'string'"),
        ({"create": ["x"]}, "create", "must be a 'string'"),
        ({"environment": {"A": 8080}}, "environment.A", "must be a 'string'"),
        ({"environment": {"A.b": True}}, 'environment["A.b"]', "must be a 'string'"),
        ({"environment": ["A=1"]}, "environment", "must be a 'map'"),
        ({"interpreter": "bash"}, "interpreter", "must be a 'list'"),
        ({"assetPaths": ["a", 1]}, "assetPaths[1]", "must be a 'string'"),
        ({"triggers": "x"}, "triggers", "must be a 'list'"),
        ({"addPreviousOutputInEnv": "no"}, "addPreviousOutputInEnv", "must be a 'bool'"),
        ({"logging": "all"}, "logging", "must be one of stdout, stderr, stdoutAndStderr, none"),
    ],
)
def test_check_names_unknown_fields_and_wrong_types(plugin: Plugin, inputs, path, reason):
    [(found, text)] = plugin.check(inputs)[1]
    assert found == path
    assert reason in text


def test_check_lets_unknown_and_secret_values_pass(plugin: Plugin):
    inputs = {"create": secret("x"), "environment": {"A": secret("1")}, "interpreter": UNKNOWN}
    response = plugin.stub.Check(provider_pb2.CheckRequest(urn=URN, news=struct(inputs)))
    assert not response.failures
    assert response.inputs.fields["create"].struct_value.fields[SIGNATURE].string_value == SECRET


def test_a_resource_or_function_of_another_kind_is_refused(plugin: Plugin):
    urn = URN.replace("local:Command", "remote:Command")
    check = provider_pb2.CheckRequest(urn=urn)
    assert "knows only command:local:Command" in error_of(lambda: plugin.stub.Check(check))
    invoke = provider_pb2.InvokeRequest(tok="command:local:other")
    assert "knows only command:local:run" in error_of(lambda: plugin.stub.Invoke(invoke))


# --- update or replace -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"create": "a"}, {"create": "a"}, {}),
        ({"create": "a"}, {"create": "b"}, {"create": "UPDATE"}),
        ({"create": "a"}, {"create": "a", "delete": "x"}, {"delete": "ADD"}),
        ({"create": "a", "dir": "/"}, {"create": "a"}, {"dir": "DELETE"}),
        ({"create": "a"}, {"create": UNKNOWN}, {"create": "UPDATE"}),
        ({"environment": {"A": "1"}}, {"environment": {"A": "2"}}, {"environment.A": "UPDATE"}),
        ({"environment": {}}, {"environment": {"A.b": "2"}}, {'environment["A.b"]': "ADD"}),
        ({"interpreter": ["a"]}, {"interpreter": ["a", "b"]}, {"interpreter[1]": "ADD"}),
        ({}, {"triggers": ["a"]}, {"triggers": "ADD_REPLACE"}),
        ({"triggers": ["a"]}, {}, {"triggers": "DELETE_REPLACE"}),
        # The SDK's replace_on_changes=["triggers[*]"] turns these into replacements.
        ({"triggers": ["a"]}, {"triggers": ["b"]}, {"triggers[0]": "UPDATE"}),
        ({"triggers": ["a", "b"]}, {"triggers": ["a"]}, {"triggers[1]": "DELETE"}),
        ({"triggers": [{"x": 1}]}, {"triggers": [{"x": 2}]}, {"triggers[0].x": "UPDATE"}),
    ],
)
def test_only_triggers_as_a_whole_replace(old, new, expected):
    assert input_differences(old, new) == expected


def test_the_diff_says_what_changed_and_what_replaces(plugin: Plugin):
    response = plugin.diff({"create": "a", "stdout": "x"}, {"create": "b", "triggers": ["t"]})
    assert response.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert response.hasDetailedDiff
    assert sorted(response.diffs) == ["create", "triggers"]
    assert list(response.replaces) == ["triggers"]
    assert response.detailedDiff["create"].kind == provider_pb2.PropertyDiff.UPDATE


def test_nothing_changes_when_only_secretness_or_outputs_differ(plugin: Plugin):
    old = {"environment": {"A": "1"}, "stdout": "x", "stderr": ""}
    response = plugin.diff(old, {"environment": secret({"A": secret("1")})})
    assert response.changes == provider_pb2.DiffResponse.DIFF_NONE


def test_ignored_changes_are_no_difference_and_do_not_run(plugin: Plugin):
    old = {"create": "echo old"}
    assert not plugin.diff(old, {"create": "echo new"}, ignore=("create",)).diffs
    assert plugin.update(old, {"create": "echo new"}, ignore=("create",))["stdout"] == "old"


# --- create, update, delete ------------------------------------------------------------------------------


def test_create_runs_and_gives_inputs_and_outputs(plugin: Plugin):
    response = plugin.raw_create({"create": "echo out; echo err >&2"})
    assert response.id.startswith("greet")
    assert len(response.id) == len("greet") + 8
    state = {key: plain(value) for key, value in response.properties.fields.items()}
    assert state == {"create": "echo out; echo err >&2", "stdout": "out", "stderr": "err"}


def test_no_command_gives_empty_outputs(plugin: Plugin):
    assert plugin.create({"delete": "false"}) == {"delete": "false", "stdout": "", "stderr": ""}


def test_update_runs_update_else_create(plugin: Plugin):
    old = {"create": "echo c", "stdout": "c", "stderr": ""}
    assert plugin.update(old, {"create": "echo c", "update": "echo u"})["stdout"] == "u"
    assert plugin.update(old, {"create": "echo again", "delete": "true"})["stdout"] == "again"
    assert plugin.update(old, {"delete": "true"})["stdout"] == "c"


def test_delete_runs_delete_with_the_state_of_before(plugin: Plugin, tmp_path: Path):
    said = tmp_path / "said"
    delete = f'echo "$WHO left $PULUMI_COMMAND_STDOUT" > {said}'
    plugin.delete({"delete": delete, "environment": {"WHO": secret("ana")}, "stdout": "7", "stderr": ""})
    assert said.read_text() == "ana left 7\n"
    plugin.delete({"create": "false"})


def test_a_failed_delete_is_an_error_so_that_the_resource_stays(plugin: Plugin):
    assert error_of(lambda: plugin.delete({"delete": "exit 4"})).startswith("exit status 4")


def test_the_output_of_before_is_in_the_environment_only_if_there_was_any(plugin: Plugin):
    show = "env | grep ^PULUMI_COMMAND_ | sort; true"
    old = {"create": show, "stdout": "a b", "stderr": ""}
    assert plugin.update(old, {"create": show})["stdout"] == "PULUMI_COMMAND_STDOUT=a b"
    assert plugin.update(old, {"create": show, "addPreviousOutputInEnv": False})["stdout"] == ""
    assert plugin.create({"create": show})["stdout"] == ""


def test_an_output_too_big_for_the_environment_says_so(plugin: Plugin):
    """Linux takes 128 KiB for one variable; the official plugin fails in the same way."""
    old = {"create": "true", "stdout": "x" * 200_000}
    error = error_of(lambda: plugin.update(old, {"create": "true"}))
    assert error.startswith("fork/exec /bin/sh: argument list too long")
    assert plugin.update(old, {"create": "true", "addPreviousOutputInEnv": False})["stdout"] == ""


def test_read_returns_what_is_known(plugin: Plugin):
    request = provider_pb2.ReadRequest(id="x", urn=URN, properties=struct({"stdout": "a"}))
    response = plugin.stub.Read(request)
    assert response.id == "x"
    assert plain(response.properties.fields["stdout"]) == "a"


# --- previews --------------------------------------------------------------------------------------------


def test_a_preview_runs_nothing(plugin: Plugin, tmp_path: Path):
    command = f"touch {tmp_path}/ran"
    assert plugin.create({"create": command}, preview=True)["stdout"] == UNKNOWN
    plugin.update({"create": "true"}, {"create": command}, preview=True)
    assert not (tmp_path / "ran").exists()


def test_outputs_are_unknown_in_the_preview_of_an_update_if_an_existing_input_changed(plugin: Plugin):
    old = {"create": "a", "stdout": "x", "stderr": "y"}
    changed = plugin.update(old, {"create": "b"}, preview=True)
    assert (changed["stdout"], changed["stderr"]) == (UNKNOWN, UNKNOWN)
    added = plugin.update(old, {"create": "a", "delete": "d"}, preview=True)
    assert (added["stdout"], added["stderr"]) == ("x", "y")


# --- how a command runs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "stdout"),
    [
        ({"create": "printf 'a\\n\\n'"}, "a\n"),
        ({"create": "printf a"}, "a"),
        ({"create": "cat", "stdin": "from stdin"}, "from stdin"),
        ({"create": "cat | wc -c"}, "0"),
        ({"create": "cat | wc -c", "stdin": "x" * 1_000_000}, "1000000"),
        ({"create": "true", "stdin": "x" * 1_000_000}, ""),
        ({"create": "pwd", "dir": "/usr"}, "/usr"),
        ({"create": "print(6 * 7)", "interpreter": ["python3", "-c"]}, "42"),
        ({"create": "echo $A-$B", "environment": {"A": "1", "B": "$A"}}, "1-$A"),
        ({"create": 'test -n "$PATH" && echo kept', "environment": {"A": "1"}}, "kept"),
        ({"create": "printf 'a\\377b'"}, "a\N{REPLACEMENT CHARACTER}b"),
        ({"create": "printf 'ñandú'"}, "ñandú"),
    ],
)
def test_inputs_do_what_their_name_says(plugin: Plugin, inputs, stdout):
    assert plugin.create(inputs)["stdout"] == stdout


def test_secrets_reach_the_command_and_stay_secret_while_stdout_stays_plain(plugin: Plugin):
    inputs = {"create": "echo $A", "environment": {"A": secret("hush")}}
    fields = plugin.raw_create(inputs).properties.fields
    value = fields["environment"].struct_value.fields["A"].struct_value.fields
    assert value[SIGNATURE].string_value == SECRET
    assert fields["stdout"].string_value == "hush"


def test_output_of_20_megabytes_arrives_whole(plugin: Plugin):
    state = plugin.create({"create": "head -c 20000000 /dev/zero | tr '\\0' x", "logging": "none"})
    assert len(state["stdout"]) == 20_000_000


def test_a_million_lines_are_not_slowed_down_by_the_display(plugin: Plugin):
    """One message a line would take minutes."""
    started = time.monotonic()
    assert plugin.create({"create": "seq 1000000"})["stdout"].endswith("\n1000000")
    assert time.monotonic() - started < 20
    assert "1000000" in plugin.engine.logged[-1].message


# --- failures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        (
            {"create": "echo a; sleep 0.1; echo b >&2; exit 3"},
            'exit status 3: running "echo a; sleep 0.1; echo b >&2; exit 3":\na\nb\n',
        ),
        ({"create": "kill -9 $$"}, 'signal: killed: running "kill -9 $$":\n'),
        ({"create": "kill -TERM $$"}, 'signal: terminated: running "kill -TERM $$":\n'),
        ({"create": "x", "dir": "/nope"}, 'chdir /nope: no such file or directory: running "x":\n'),
        (
            {"create": "x", "interpreter": ["nope"]},
            'exec: "nope": executable file not found in $PATH: running "x":\n',
        ),
        (
            {"create": "x", "interpreter": ["/nope"]},
            'fork/exec /nope: no such file or directory: running "x":\n',
        ),
    ],
)
def test_a_failure_says_what_ran_how_it_ended_and_what_it_wrote(plugin: Plugin, inputs, error):
    assert error_of(lambda: plugin.create(inputs)) == error


def test_the_error_of_a_talkative_command_carries_the_end(plugin: Plugin):
    error = error_of(lambda: plugin.create({"create": "seq 200000 >&2; echo the reason >&2; exit 1"}))
    assert error.endswith("\nthe reason\n")
    assert "bytes before this are left out" in error
    assert 32_000 < len(error) < 34_000


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a b", '"a b"'),
        ('say "x"\n\t\\', '"say \\"x\\"\\n\\t\\\\"'),
        ("ñ\x07\x01\u200b", '"ñ\\a\\x01\\u200b"'),
    ],
)
def test_commands_are_quoted_as_go_does(text, quoted):
    assert go_quoted(text) == quoted


# --- the display -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logging", "shown"),
    [
        (None, {"out", "err"}),
        ("stdoutAndStderr", {"out", "err"}),
        ("stdout", {"out"}),
        ("stderr", {"err"}),
        ("none", set()),
    ],
)
def test_logging_chooses_what_is_displayed_never_what_is_stored(plugin: Plugin, logging, shown):
    inputs = {"create": "echo out; echo err >&2"} | ({"logging": logging} if logging else {})
    state = plugin.create(inputs)
    assert (state["stdout"], state["stderr"]) == ("out", "err")
    assert {log.message for log in plugin.engine.logged} == shown
    assert all(log.urn == URN and log.ephemeral for log in plugin.engine.logged)
    assert all(log.severity == engine_pb2.INFO for log in plugin.engine.logged)


def test_lines_are_displayed_while_the_command_still_runs(plugin: Plugin, tmp_path: Path):
    go_on = tmp_path / "go-on"
    command = f"echo first; until [ -e {go_on} ]; do sleep 0.02; done"
    created = plugin.stub.Create.future(
        provider_pb2.CreateRequest(urn=URN, properties=struct({"create": command}))
    )
    wait_for(lambda: [log.message for log in plugin.engine.logged] == ["first"])
    assert not created.done()
    go_on.touch()
    created.result(timeout=10)


# --- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("glob", "matches", "others"),
    [
        ("*.txt", ["a.txt", ".txt"], ["d/a.txt", "a.txtx"]),
        ("**.txt", ["a.txt", "d/e/a.txt"], ["a.md"]),
        ("d/*", ["d/a"], ["d/e/a", "d"]),
        ("d/**", ["d/a", "d/e/a"], ["a"]),
        ("?.[ab]", ["x.a", "y.b"], ["x.c", "/.a"]),
        ("x[!0-9]", ["xa"], ["x1"]),
        ("*.{js,t{s,sx}}", ["a.js", "a.ts", "a.tsx"], ["a.t"]),
        ("a\\*", ["a*"], ["ab"]),
        ("a+(b)", ["a+(b)"], ["aab"]),
    ],
)
def test_globs(glob, matches, others):
    assert [path for path in matches + others if glob_pattern(glob).match(path)] == matches


def test_a_glob_that_cannot_be_read_is_an_error(plugin: Plugin):
    assert "'[z-a]' is not a glob" in error_of(
        lambda: plugin.create({"create": "true", "assetPaths": ["[z-a]"]})
    )


def test_files_are_chosen_in_order_and_without_folders(tmp_path: Path):
    for name in ("assets/logos/logo.svg", "src/index.js", "src/secret.js"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_files(str(tmp_path), ["assets/**", "src/**.js", "!**secret.*"])
    assert list(found) == ["assets/logos/logo.svg", "src/index.js"]


def test_assets_and_archive_are_made_after_the_command(plugin: Plugin, tmp_path: Path):
    state = plugin.create(
        {"create": "echo hi > new.txt", "dir": str(tmp_path), "assetPaths": ["*"], "archivePaths": ["*.txt"]}
    )
    assert state["assets"]["new.txt"][SIGNATURE] == ASSET
    assert state["assets"]["new.txt"]["path"] == str(tmp_path / "new.txt")
    assert list(state["archive"]["assets"]) == ["new.txt"]


# --- command:local:run -----------------------------------------------------------------------------------


def test_run_gives_inputs_and_outputs(plugin: Plugin):
    response = plugin.run({"command": "echo $A", "environment": {"A": "x"}})
    result = {key: plain(value) for key, value in getattr(response, "return").fields.items()}
    assert result == {"command": "echo $A", "environment": {"A": "x"}, "stdout": "x", "stderr": ""}


def test_run_checks_its_inputs(plugin: Plugin):
    response = plugin.run({"create": "x"})
    assert {fault.property for fault in response.failures} == {"create", "command"}


def test_a_failed_run_is_an_error(plugin: Plugin):
    assert error_of(lambda: plugin.run({"command": "exit 2"})).startswith("exit status 2")


# --- cancelled and orphaned ------------------------------------------------------------------------------


def start(plugin: Plugin, command: str, pids: Path):
    """A command of two processes, each of which writes its pid into `pids`."""
    request = provider_pb2.CreateRequest(urn=URN, properties=struct({"create": command}))
    future = plugin.stub.Create.future(request)
    wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    return future, [int(pid) for pid in pids.read_text().split()]


def start_sleeper(plugin: Plugin, pids: Path):
    """A command with a grandchild, both of which sleep."""
    return start(plugin, f"(sh -c 'echo $$ >> {pids}; sleep 60' &) ; echo $$ >> {pids}; sleep 60", pids)


def start_stubborn(plugin: Plugin, pids: Path):
    """A command that ends at SIGTERM, and its grandchild without any pipe, which does not."""
    deaf = f"trap '' TERM; echo $$ >> {pids}; sleep 60"
    return start(plugin, f'(sh -c "{deaf}" >/dev/null 2>&1 &) ; echo $$ >> {pids}; sleep 60', pids)


def alive(pids: list[int]) -> list[int]:
    return [
        pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    ]


STUBBORN = (
    "(sh -c \"trap '' TERM; touch $STARTED; sleep 60\" >/dev/null 2>&1 &) ; until [ -e $STARTED ]; do :; done"
)
"""Leaves a grandchild behind that holds no pipe and heeds no SIGTERM."""


@pytest.fixture
def start_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Group]]:
    """Starts a command after `STUBBORN`, with a short grace."""
    monkeypatch.setattr(running, "GRACE_SECONDS", 0.5)
    groups: list[Group] = []
    started = tmp_path / "started"

    def start_group(command: str) -> Group:
        process = subprocess.Popen(
            ["sh", "-c", f"{STUBBORN}; {command}"],
            env={**os.environ, "STARTED": str(started)},
            process_group=0,
        )
        groups.append(Group(process))
        wait_for(started.exists)
        return groups[-1]

    yield start_group
    for group in groups:
        group.kill()
        group.wait()


def test_cancel_ends_the_whole_process_group_and_starts_nothing_more(
    start_plugin: Callable[[], Plugin], tmp_path: Path
):
    plugin = start_plugin()
    future, pids = start_sleeper(plugin, tmp_path / "pids")
    plugin.stub.Cancel(empty_pb2.Empty())
    assert error_of(lambda: future.result(timeout=10)).startswith("signal: terminated")
    assert not alive(pids)
    assert error_of(lambda: plugin.create({"create": "true"})).startswith("context canceled")


def test_a_cancelled_command_puts_right_what_it_has_begun(start_plugin: Callable[[], Plugin], tmp_path: Path):
    """What it says and how it ends is the error's, so that the display has it."""
    plugin = start_plugin()
    pids = tmp_path / "pids"
    command = (
        f"trap 'sleep 1; echo put right; exit 3' TERM; echo $$ $$ >> {pids}; while :; do sleep 0.1; done"
    )
    future, _ = start(plugin, command, pids)
    began = time.monotonic()
    plugin.stub.Cancel(empty_pb2.Empty())
    assert time.monotonic() - began < 1, "the engine waits for all plugins to answer"
    error = error_of(lambda: future.result(timeout=10))
    assert error.startswith("exit status 3")
    assert error.endswith("put right\n")


def test_who_does_not_heed_a_cancel_is_killed_after_a_grace(start_group: Callable[[str], Group]):
    """A grandchild too that holds none of the command's pipes."""
    group = start_group("sleep 60")
    began = time.monotonic()
    group.end()
    assert group.wait() == -signal.SIGTERM
    assert 0.5 < time.monotonic() - began < 5
    assert not group.members()


def test_what_a_command_leaves_behind_on_purpose_is_not_ended(start_group: Callable[[str], Group]):
    group = start_group("true")
    assert group.wait() == 0
    left = group.members()
    group.end()
    assert group.wait() == 0
    assert left
    assert set(left) <= set(group.members())


def test_when_the_engine_is_gone_commands_are_ended_and_the_plugin_leaves(
    start_plugin: Callable[[], Plugin], tmp_path: Path
):
    """The death of the engine is the end of our stdin, whatever becomes of its connections."""
    plugin = start_plugin()
    _, pids = start_sleeper(plugin, tmp_path / "pids")
    assert plugin.process.stdin
    plugin.process.stdin.close()
    assert plugin.process.wait(timeout=10) == 0
    assert not alive(pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_commands_and_the_plugin_leaves_at_once(
    start_plugin: Callable[[], Plugin], tmp_path: Path, number
):
    plugin = start_plugin()
    _, pids = start_sleeper(plugin, tmp_path / "pids")
    os.kill(plugin.process.pid, number)
    assert plugin.process.wait(timeout=3) == 0
    assert not alive(pids)


def test_the_plugin_leaves_before_the_engine_kills_it(start_plugin: Callable[[], Plugin], tmp_path: Path):
    """Five seconds after its SIGINT; else what does not heed a signal would be left running."""
    plugin = start_plugin()
    _, pids = start_stubborn(plugin, tmp_path / "pids")
    os.kill(plugin.process.pid, signal.SIGINT)
    assert plugin.process.wait(timeout=5) == 0
    wait_for(lambda: not alive(pids))
