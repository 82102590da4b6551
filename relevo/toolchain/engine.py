"""Which Pulumi engine a machine gets: one on PATH, else the official one, else one built from Go modules.

The last needs nothing but a package registry. It brings no Python language host and no command plugin of its
own, so it gets ours (see `with_own_parts`).
"""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from relevo.toolchain.launcher import PARTS, is_launcher

MINIMUM = (3, 259, 0)
"""The oldest engine that the tests have seen working."""
BUILT = "3.259.0"
"""The newest one whose Go modules the proxy serves whole. engine_module/go.mod says the same."""
SDK = importlib.metadata.version("pulumi")
"""The version that the official installer gets: that of the SDK."""
DOWNLOAD_SECONDS = 20
"""Without internet the official installer would try for minutes."""
COMMAND_PLUGIN = "1.2.1"
_INSTALL_PLUGIN = ("plugin", "install", "resource", "command", COMMAND_PLUGIN)

_MODULE = Path(__file__).with_name("engine_module")
_GO_SETTINGS = {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false"}
_EXECUTOR = "pulumi-language-python-exec"
_PROVIDER = "pulumi-resource-pulumi-python"


class NoEngine(Exception):
    """No engine can be had; the text names the remedy."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that runs here.

    own_host: it was built, so the Python language host beside it is ours.
    own_home: plugins cannot be downloaded, so ours lies in a PULUMI_HOME of the checkout.
    """

    pulumi: str
    version: str
    own_host: bool = False
    own_home: bool = False


def say(text: str) -> None:
    print(f"relevo: {text}", flush=True)


def resolve() -> Engine:
    """The engine to use. Raises NoEngine."""
    if found := on_path(os.environ.get("PATH", "")):
        return found
    return cached() or official() or build()


def cache() -> Path:
    """Where engines are kept, by version, for all checkouts of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "relevo", "pulumi")


def version_of(pulumi: Path) -> str | None:
    """What `pulumi version` says, without the v; None if it does not run."""
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "1"}
    try:
        run = subprocess.run([pulumi, "version"], env=environment, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip().removeprefix("v") if run.returncode == 0 else None


def is_new_enough(version: str) -> bool:
    numbers = version.split("-")[0].split("+")[0].split(".")
    return all(number.isdigit() for number in numbers) and tuple(map(int, numbers)) >= MINIMUM


def on_path(path: str) -> Engine | None:
    """The first `pulumi` on PATH that is new enough, has its Python language host and is none of ours."""
    for folder in filter(None, path.split(os.pathsep)):
        pulumi = Path(folder, "pulumi")
        if not os.access(pulumi, os.X_OK) or PARTS in pulumi.parts or is_launcher(pulumi):
            continue
        version = version_of(pulumi)
        if version is None or not is_new_enough(version):
            wanted = ".".join(map(str, MINIMUM))
            say(f"{pulumi} is {version or 'not usable'}, but {wanted} or newer is needed; looking further")
            continue
        if not shutil.which("pulumi-language-python", path=f"{pulumi.resolve().parent}{os.pathsep}{path}"):
            say(f"{pulumi} has no pulumi-language-python beside it; looking further")
            continue
        return Engine(pulumi=str(pulumi), version=version)
    return None


def cached() -> Engine | None:
    """An engine that an earlier setup has put into the cache: the official one before a built one."""
    for folder, built in ((_official_folder(), False), (_built_folder(), True)):
        if _is_whole(folder):
            version = (folder / "version").read_text()
            pulumi = str(folder / "bin" / "pulumi")
            return Engine(pulumi=pulumi, version=version, own_host=built, own_home=built)
    return None


def official() -> Engine | None:
    """The engine of the official installer, or None when that cannot be reached."""
    say(f"looking for the official Pulumi {SDK} (at most {DOWNLOAD_SECONDS} s without an answer)")
    with _made_in(_official_folder()) as folder:
        if folder is None:
            return cached()
        if not _install(folder) or (version := version_of(folder / "bin" / "pulumi")) is None:
            return None
        (folder / "version").write_text(version)
    return cached()


def build() -> Engine:
    """The engine built from Go modules, with our own parts beside it. Raises NoEngine."""
    go = shutil.which("go")
    if not go:
        raise NoEngine(
            "pulumi is not on PATH and cannot be downloaded, and go is not on PATH, but one is needed; "
            "install Pulumi (https://www.pulumi.com/docs/install/) or Go 1.25.11 or newer (https://go.dev/dl/)."
        )
    with _made_in(_built_folder()) as folder:
        if folder is not None:
            say(f"building Pulumi {BUILT} from Go modules: 3 to 4 minutes on two cores, once for this user")
            flags = f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{BUILT}"
            package = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
            _go(go, "build", "-ldflags", flags, "-o", str(folder / "bin" / "pulumi"), package)
            _copy_sdk(go, folder / "sdk")
            (folder / "version").write_text(BUILT)
    engine = cached()
    assert engine
    return engine


def with_own_parts(engine: Engine, folder: Path) -> Engine:
    """The same engine in a folder of the checkout, beside the language host and dynamic provider it lacks.

    The engine looks for them beside itself, and takes them from PATH only with a warning. They do not lie in
    the cache because checkouts of different revisions share it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sdk = Path(engine.pulumi).parents[1] / "sdk"
    python = shlex.quote(sys.executable)
    executor, provider = (shlex.quote(str(sdk / name)) for name in (_EXECUTOR, _PROVIDER))
    serve, guard = (f"exec {python} -P -m relevo.toolchain.{name}" for name in ("serve", "guard"))
    _script(folder / "pulumi-language-python", f'{serve} language {executor} "$@"')
    _script(folder / _PROVIDER, f'{guard} {provider} "$@"')
    pulumi = folder / "pulumi"
    if not pulumi.exists() or pulumi.stat().st_size != Path(engine.pulumi).stat().st_size:
        _link(Path(engine.pulumi), pulumi)
    return replace(engine, pulumi=str(pulumi))


def has_command_plugin(engine: Engine, environment: Mapping[str, str]) -> bool:
    """Whether the command plugin that the programs need is installed."""
    listed = subprocess.run(
        [engine.pulumi, "plugin", "ls", "--json"], env=environment, capture_output=True, text=True, check=True
    )
    plugins = json.loads(listed.stdout)
    return any((item["name"], item.get("version")) == ("command", COMMAND_PLUGIN) for item in plugins)


def download_command_plugin(engine: Engine, environment: Mapping[str, str]) -> bool:
    """Whether the official plugin could be had; it is then installed."""
    say(f"getting the official command plugin {COMMAND_PLUGIN}")
    return run_bounded([engine.pulumi, *_INSTALL_PLUGIN], environment, DOWNLOAD_SECONDS)


def install_own_command_plugin(engine: Engine, environment: Mapping[str, str]) -> None:
    """Installs ours, under the name and version of the official one."""
    say(f"installing our command plugin in place of the official {COMMAND_PLUGIN}")
    with tempfile.TemporaryDirectory(prefix="relevo-plugin-") as folder:
        script = Path(folder, "pulumi-resource-command")
        _script(script, f'exec {shlex.quote(sys.executable)} -P -m relevo.toolchain.serve command "$@"')
        install = [engine.pulumi, *_INSTALL_PLUGIN, "--reinstall", "--file", str(script)]
        subprocess.run(install, env=environment, check=True, capture_output=True)


def run_bounded(argv: list[str], environment: Mapping[str, str], seconds: float) -> bool:
    """Whether the command succeeded in that time; afterwards neither it nor a child of it runs."""
    process = subprocess.Popen(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        return process.wait(timeout=seconds) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _install(folder: Path) -> bool:
    """Runs the official installer into the folder; False if it fails or cannot be reached."""
    reach = "import urllib.request as r; r.urlopen('https://get.pulumi.com/install.sh', timeout=10).read()"
    if not run_bounded([sys.executable, "-c", reach], os.environ, DOWNLOAD_SECONDS):
        say("it cannot be reached from here")
        return False
    say("downloading it, some 100 MB")
    install = "import sys; from pulumi.automation import PulumiCommand as P; P.install(root=sys.argv[1])"
    return run_bounded([sys.executable, "-c", install, str(folder)], os.environ, 600)


def _go(go: str, *arguments: str) -> None:
    """Runs go in our module and says every ten seconds that it runs. Raises NoEngine with its errors."""
    with tempfile.TemporaryFile(mode="w+") as output:
        process = subprocess.Popen(
            [go, *arguments], cwd=_MODULE, env=os.environ | _GO_SETTINGS, stdout=output, stderr=output
        )
        started = time.monotonic()
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(timeout=10)
                    break
                say(f"still building, {time.monotonic() - started:.0f} s so far")
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        if code:
            raise NoEngine(
                f"building Pulumi {BUILT} failed; put right what go names and run it again.\n"
                + output.read()[-4000:]
            )


@contextlib.contextmanager
def _made_in(target: Path) -> Iterator[Path | None]:
    """A folder to fill, which takes the target's place when the block ends well; None if it is there already.

    One at a time over all processes of the user, the others wait; whatever was left half-made is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.with_name(f".{target.name}.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another setup is at it already; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_whole(target):
            yield None
            return
        for left_over in target.parent.glob(f".{target.name}.part-*"):
            shutil.rmtree(left_over)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.part-", dir=target.parent))
        try:
            yield folder
            if _is_whole(folder):
                shutil.rmtree(target, ignore_errors=True)
                folder.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _official_folder() -> Path:
    return cache() / f"official-{SDK}"


def _built_folder() -> Path:
    return cache() / BUILT


def _is_whole(folder: Path) -> bool:
    """Whether its making came to the end: the version is written last."""
    return (folder / "version").is_file() and os.access(folder / "bin" / "pulumi", os.X_OK)


def _copy_sdk(go: str, folder: Path) -> None:
    """The two programs of the SDK's Go module by which a Python program and a dynamic provider are run."""
    module = f"github.com/pulumi/pulumi/sdk/v3@v{BUILT}"
    download = [go, "mod", "download", "-json", module]
    found = subprocess.run(
        download, cwd=_MODULE, env=os.environ | _GO_SETTINGS, stdout=subprocess.PIPE, text=True, check=True
    )
    sources = Path(json.loads(found.stdout)["Dir"], "python")
    folder.mkdir()
    for source in (sources / "cmd" / _EXECUTOR, sources / "dist" / _PROVIDER):
        program = Path(shutil.copyfile(source, folder / source.name))  # not its mode: that is read-only
        program.chmod(0o755)


def _script(path: Path, line: str) -> None:
    text = f"#!/bin/sh\n{line}\n"
    if not path.is_file() or path.read_text() != text:
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_text(text)
        part.chmod(0o755)
        part.replace(path)


def _link(source: Path, target: Path) -> None:
    """A hard link, as a symbolic one would not move the engine; a copy if the cache is on another disk."""
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        os.link(source, part)
    except OSError:
        shutil.copy2(source, part)
    part.replace(target)
