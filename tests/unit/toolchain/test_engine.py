"""How an engine is found, downloaded or built. The programs are stand-ins; elsewhere the real ones run."""

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from relevo.toolchain import engine as engines
from relevo.toolchain.engine import Engine, NoEngine
from relevo.toolchain.launcher import PARTS
from relevo.toolchain.setup import with_command_plugin


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "relevo" / "pulumi"


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a stand-in program, a shell script, and gives its path."""

    def write(name: str, script: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n" + textwrap.dedent(script))
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def no_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")


# --- on PATH


def test_the_first_engine_on_path_that_is_new_enough_is_taken(program, capsys: pytest.CaptureFixture[str]):
    old = program("old/pulumi", "echo v3.100.0")
    new = program("new/pulumi", "echo v3.300.1")
    program("new/pulumi-language-python", "")
    found = engines.on_path(f"/nowhere:{old.parent}:{new.parent}")
    assert found == Engine(pulumi=str(new), version="3.300.1")
    assert f"{old} is 3.100.0, but 3.259.0 or newer is needed" in capsys.readouterr().out


@pytest.mark.parametrize("script", ["exit 1", "echo rubbish", "echo v3.258.9", "echo v3.x.1-dev"])
def test_an_engine_that_is_not_usable_is_passed_over(program, script):
    folder = program("bin/pulumi", script).parent
    program("bin/pulumi-language-python", "")
    assert engines.on_path(str(folder)) is None


def test_an_engine_without_its_language_host_is_passed_over(program, monkeypatch: pytest.MonkeyPatch):
    folder = program("bin/pulumi", "echo v3.300.0").parent
    assert engines.on_path(str(folder)) is None


def test_our_launcher_and_our_own_engine_are_not_the_engine_on_path(program):
    """Else the launcher would run itself for ever."""
    launcher = program("a/pulumi", "# from relevo.toolchain.launcher import main\necho v3.300.0")
    ours = program(f"{PARTS}/pulumi", "echo v3.300.0")
    for folder in (launcher.parent, ours.parent):
        program(f"{folder.name}/pulumi-language-python", "")
    assert engines.on_path(f"{launcher.parent}:{ours.parent}") is None


# --- the official installer


def test_without_internet_the_download_fails_fast_and_leaves_nothing(no_internet: None, cache: Path):
    started = time.monotonic()
    assert engines.official() is None
    assert time.monotonic() - started < engines.DOWNLOAD_SECONDS
    assert [path.name for path in cache.iterdir() if not path.name.endswith(".lock")] == []


def test_a_download_that_does_not_end_is_ended_with_all_its_children(program, tmp_path: Path):
    hanging = program("hanging", f"sleep 60 & echo $! > {tmp_path}/pid; wait")
    started = time.monotonic()
    assert not engines.run_bounded([str(hanging)], os.environ, 1)
    assert time.monotonic() - started < 5
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- the build

GO = """
    case $1 in
      build)
        echo built >> "$COUNT"
        while [ "$1" != -o ]; do shift; done
        sleep 0.5
        mkdir -p "$(dirname "$2")"
        printf '#!/bin/sh\\necho v3.259.0\\n' > "$2"
        chmod +x "$2" ;;
      mod) echo "{\\"Dir\\": \\"$SDK\\"}" ;;
    esac
"""


@pytest.fixture
def go(program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for go on PATH, which counts its builds in `count`."""
    for name in ("cmd/pulumi-language-python-exec", "dist/pulumi-resource-pulumi-python"):
        program(f"sdk/python/{name}", "echo from the SDK").chmod(0o444)
    path = program("go/bin/go", GO)
    monkeypatch.setenv("SDK", str(tmp_path / "sdk"))
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    return path


def test_an_engine_is_built_once_and_then_comes_from_the_cache(go: Path, cache: Path, tmp_path: Path):
    engine = engines.build()
    pulumi = str(cache / "3.259.0" / "bin" / "pulumi")
    assert engine == Engine(pulumi=pulumi, version="3.259.0", own_host=True, own_home=True)
    assert engines.build() == engine == engines.cached()
    assert (tmp_path / "count").read_text() == "built\n"
    executor = cache / "3.259.0" / "sdk" / "pulumi-language-python-exec"
    assert os.access(executor, os.X_OK)


def test_two_builds_at_once_build_once(go: Path, tmp_path: Path):
    build = "from relevo.toolchain.engine import build; print(build().pulumi)"
    both = [
        subprocess.Popen([sys.executable, "-c", build], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert (tmp_path / "count").read_text() == "built\n"
    assert sum("another setup is at it already" in output for output in outputs) == 1


def test_a_build_that_was_killed_is_begun_anew(go: Path, cache: Path):
    left_over = cache / ".3.259.0.part-x"
    left_over.mkdir(parents=True)
    (left_over / "rubbish").touch()
    (cache / "3.259.0").mkdir()
    engines.build()
    assert sorted(path.name for path in cache.iterdir()) == [".3.259.0.lock", "3.259.0"]


def test_a_failed_build_shows_gos_words_and_leaves_nothing(program, cache: Path, monkeypatch):
    go = program("go/bin/go", "echo module not found >&2; exit 1")
    monkeypatch.setenv("PATH", f"{go.parent}:{os.environ['PATH']}")
    with pytest.raises(NoEngine, match="module not found"):
        engines.build()
    assert sorted(path.name for path in cache.iterdir()) == [".3.259.0.lock"]


def test_without_internet_and_go_the_error_names_both_remedies(
    no_internet: None, program, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(program("bin/true", "").parent))
    with pytest.raises(NoEngine, match=r"install Pulumi \(https.*\) or Go .* \(https.*\)\."):
        engines.resolve()


def test_what_is_built_is_what_the_module_says():
    module = Path(engines.__file__).with_name("engine_module") / "go.mod"
    for part in ("pkg", "sdk"):
        assert f"github.com/pulumi/pulumi/{part}/v3 v{engines.BUILT}" in module.read_text()


# --- our own parts


def test_our_parts_lie_beside_the_engine_in_the_checkout(go: Path, tmp_path: Path):
    built = engines.build()
    engine = engines.with_own_parts(built, tmp_path / "env with space" / PARTS)
    assert Path(engine.pulumi).samefile(built.pulumi)
    host = Path(engine.pulumi).with_name("pulumi-language-python")
    assert f"{sys.executable} -P -m relevo.toolchain.serve language" in host.read_text()
    before = host.stat().st_mtime_ns
    assert engines.with_own_parts(built, host.parent) == engine
    assert host.stat().st_mtime_ns == before


# --- the command plugin

PULUMI = """
    echo "$PULUMI_HOME $*" >> "$CALLS"
    case "$*" in
      "plugin ls --json") cat "$PULUMI_HOME/listed" 2>/dev/null || echo "[]" ;;
      *--file*)
        mkdir -p "$PULUMI_HOME"
        echo '[{"name": "command", "version": "1.2.1"}]' > "$PULUMI_HOME/listed" ;;
      *) exit "$DOWNLOAD" ;;
    esac
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What the stand-in pulumi was asked so far; it and its home lie in tmp_path."""
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    monkeypatch.setattr("relevo.toolchain.launcher.STATE", tmp_path / ".relevo")
    monkeypatch.setattr("relevo.toolchain.setup.TOOLCHAIN", tmp_path / "toolchain.json")
    return lambda: (tmp_path / "calls").read_text().splitlines()


def test_the_official_command_plugin_is_preferred(program, calls, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOWNLOAD", "0")
    engine = Engine(pulumi=str(program("pulumi", PULUMI)), version="3.300.0")
    assert with_command_plugin(engine) == engine
    assert calls() == [" plugin ls --json", " plugin install resource command 1.2.1"]


def test_ours_goes_into_a_home_of_the_checkout(program, calls, tmp_path, monkeypatch):
    """The home of the user serves other projects, for which ours is not meant. The download is tried once."""
    monkeypatch.setenv("DOWNLOAD", "1")
    engine = Engine(pulumi=str(program("pulumi", PULUMI)), version="3.300.0")
    found = with_command_plugin(engine)
    assert found == replace(engine, own_home=True)
    *_, download, install = calls()
    assert download == " plugin install resource command 1.2.1"
    home = tmp_path / ".relevo" / "pulumi-home"
    assert install.startswith(f"{home} plugin install resource command 1.2.1 --reinstall --file ")

    (tmp_path / "toolchain.json").write_text(json.dumps(asdict(found)))
    assert with_command_plugin(engine) == found
    assert calls()[-1] == f"{home} plugin ls --json"


@pytest.mark.parametrize(
    ("plugins", "there"),
    [
        ([], False),
        ([{"name": "command", "version": "1.2.0"}], False),
        ([{"name": "random", "version": "1.2.1"}, {"name": "command", "version": "1.2.1"}], True),
        ([{"name": "command"}], False),
    ],
)
def test_only_the_wanted_version_of_the_command_plugin_will_do(program, plugins, there):
    pulumi = program("pulumi", f"echo '{json.dumps(plugins)}'")
    assert engines.has_command_plugin(Engine(pulumi=str(pulumi), version="3.300.0"), os.environ) is there
