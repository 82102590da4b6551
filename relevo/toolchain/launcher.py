"""The `pulumi` of the checkout's environment: sets what a local stack needs, then becomes the real engine.

So that in an activated environment plain `pulumi up --stack local` is all that one types. Every variable that
the caller has set wins. Only the standard library: every `pulumi` command pays for what is imported here.
"""

import json
import os
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

CHECKOUT = Path(__file__).resolve().parents[2]
STATE = CHECKOUT / ".relevo"
POLICY = CHECKOUT / "policy"
ENVIRONMENT = Path(sys.prefix)
TOOLCHAIN = ENVIRONMENT / "relevo-toolchain.json"
PARTS = "relevo-toolchain"
"""The folder in an environment where an engine that was built has our language host beside it."""
DECIDED = "RELEVO_DECIDED_AT"
"""As in components.release.context, which takes longer to import than a command may."""

_MARK = b"relevo.toolchain.launcher"


def is_launcher(program: Path) -> bool:
    """Whether this is the console script of some checkout and not a real engine."""
    with program.open("rb") as file:
        return _MARK in file.read(4096)


def main() -> NoReturn:
    try:
        toolchain = json.loads(TOOLCHAIN.read_text())
    except FileNotFoundError:
        sys.exit(f"{TOOLCHAIN} does not exist, but says which engine to run; run `make setup` in {CHECKOUT}.")
    environment = dict(os.environ)
    prepare(environment, toolchain["pulumi"], own_home=toolchain["own_home"])
    if not is_local(sys.argv[1:], Path.cwd()):
        environment.setdefault("PULUMI_OPTION_POLICY_PACK", str(POLICY))
    for lock in remove_stale_locks(environment["PULUMI_BACKEND_URL"]):
        print(f"relevo: removed the lock {lock}: its pulumi does not run any more", file=sys.stderr)
    command = [toolchain["pulumi"], *sys.argv[1:]]
    try:
        if comes_back(sys.argv[1:], Path.cwd(), environment):
            from relevo.toolchain import back

            sys.exit(back.run(command, environment, *named(sys.argv[1:], Path.cwd())))
        os.execve(command[0], command, environment)
    except FileNotFoundError:
        sys.exit(f"{toolchain['pulumi']} does not exist any more; run `make setup` in {CHECKOUT}.")


def prepare(environment: MutableMapping[str, str], pulumi: str, *, own_home: bool) -> None:
    """Completes the environment of an engine; creates the folder and the passphrase that it names."""
    if own_home:
        # What the engine would look for with these is not to be had here; asking takes seconds each time.
        environment.setdefault("PULUMI_HOME", str(STATE / "pulumi-home"))
        environment.setdefault("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "1")
    environment["PATH"] = os.pathsep.join(
        [str(ENVIRONMENT / "bin"), str(Path(pulumi).parent), environment.get("PATH", os.defpath)]
    )
    environment.setdefault("PULUMI_SKIP_UPDATE_CHECK", "1")
    # With gRPC's fork handlers a program that a dynamic provider starts can end before it has run.
    environment.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    if "PULUMI_BACKEND_URL" not in environment:
        backend = STATE / "pulumi"
        backend.mkdir(parents=True, exist_ok=True)
        # Without sidecar files: one that a killed engine leaves empty makes the whole checkpoint unreadable.
        environment["PULUMI_BACKEND_URL"] = f"{backend.as_uri()}?metadata=skip"
    if not environment.keys() & {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"}:
        environment["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(ensure_passphrase(STATE / "passphrase"))


def is_local(arguments: Sequence[str], folder: Path) -> bool:
    """Whether the command is for a stack on this machine, or for another project: our rules are for Azure's.

    A stack that the arguments do not name may be any, so it is not local.
    """
    stack, folder = named(arguments, folder)
    if folder.resolve() != CHECKOUT:
        return True
    return says(folder / f"Pulumi.{stack}.yaml", "relevo:target", "local")


def comes_back(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> bool:
    """Whether this is an `up` that is to be followed by a release of the last good artefact if it fails.

    Not one that goes back itself: where the engine fails before the record knows of it, each would be
    followed by another.
    """
    if environment.get(DECIDED):
        return False
    stack, folder = named(arguments, folder)
    if not {"up", "update"} & set(arguments) or {"-h", "--help"} & set(arguments):
        return False
    return asks(stack or "*", folder)


def asks(stack: str, folder: Path) -> bool:
    """Whether the stack is to come back by itself; `*` for any stack."""
    return any(says(file, "relevo:onFailure", "rollback") for file in folder.glob(f"Pulumi.{stack}.yaml"))


def named(arguments: Sequence[str], folder: Path) -> tuple[str, Path]:
    """The stack that the arguments name, without its organisation and empty if they do not; the folder."""
    stack = ""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        option, _, value = argument.partition("=")
        if option in ("--stack", "-s"):
            stack = value or following
        elif option in ("--cwd", "-C"):
            folder /= value or following
    return stack.rpartition("/")[2], folder


def says(configuration: Path, key: str, value: str) -> bool:
    """Whether the file gives the key this value, by its text: YAML would take longer than the command."""
    try:
        text = configuration.read_text()
    except OSError:
        return False
    return re.search(rf"^\s*[\"']?{key}[\"']?:\s*[\"']?{value}\b", text, re.MULTILINE) is not None


def ensure_passphrase(file: Path) -> Path:
    """The file with the passphrase of this checkout's stacks; made of 32 random bytes if there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    if not file.exists():
        part.touch(mode=0o600)
        part.write_text(os.urandom(32).hex())
        try:
            os.link(part, file)  # unlike a rename it never replaces what another process has just made
        except FileExistsError:
            pass
        finally:
            part.unlink()
    return file


def remove_stale_locks(backend: str) -> list[Path]:
    """Removes the locks of engines that were killed, so that the next `up` converges; returns them.

    A lock of another host, one that cannot be read and one whose process may be alive all stay.
    """
    url = urlsplit(backend)
    if url.scheme != "file":
        return []
    locks = Path(unquote(url.path), ".pulumi", "locks")
    removed = []
    for lock in locks.glob("**/*.json"):
        try:
            holder = json.loads(lock.read_text())
            stale = holder["hostname"] == os.uname().nodename and not runs(holder)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if stale:
            lock.unlink(missing_ok=True)
            removed.append(lock)
    return removed


def runs(holder: dict[str, Any]) -> bool:
    """Whether the pulumi that wrote a lock may be alive: its pid is, and was before the lock was written."""
    import psutil

    try:
        process = psutil.Process(holder["pid"])
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        written = written_at(holder["timestamp"])
        return "pulumi" in process.name() and process.create_time() <= written + 1
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def written_at(timestamp: str) -> float:
    """Seconds since the epoch, of a time as Go writes it: any number of digits after the second."""
    match = re.fullmatch(r"(.{19})(?:\.\d+)?(Z|[+-]\d\d:\d\d)", timestamp)
    if not match:
        raise ValueError(f"{timestamp!r} is not a time")
    return datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00")).timestamp()
