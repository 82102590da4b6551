"""What `make setup` does once the environment is there. Can be run at any time; quick when all is done."""

import json
import os
import re
import subprocess
from dataclasses import asdict, replace
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import unquote, urlsplit

from relevo.toolchain import engine as engines
from relevo.toolchain.engine import Engine, say
from relevo.toolchain.launcher import CHECKOUT, ENVIRONMENT, PARTS, TOOLCHAIN, prepare

STACK = "local"


class NotOurs(Exception):
    """The environment is another checkout's; the text names the remedy."""


class NoStack(Exception):
    """The local stack cannot be created; the text names the remedy."""


def setup() -> None:
    """Raises NotOurs, NoEngine or NoStack."""
    belongs_to(CHECKOUT, ENVIRONMENT)
    engine = engines.resolve()
    if engine.own_host:
        engine = engines.with_own_parts(engine, ENVIRONMENT / PARTS)
    engine = with_command_plugin(engine)
    write_whole(TOOLCHAIN, json.dumps(asdict(engine), indent=2) + "\n")
    create_stack(engine, environment_of(engine))
    origin = "built from Go modules" if engine.own_host else "official"
    plugin = "our own" if engine.own_home else "the official"
    say(f"ready: Pulumi {engine.version}, {origin}, with {plugin} command plugin")


def belongs_to(checkout: Path, environment: Path) -> None:
    """Raises NotOurs where the environment, as one that is linked, runs the code of another checkout."""
    for found in distributions(path=[str(path) for path in environment.glob("lib/python*/site-packages")]):
        origin = found.read_text("direct_url.json") if found.name == "relevo" else None  # PEP 610
        if origin is None:
            continue
        installed = Path(unquote(urlsplit(json.loads(origin)["url"]).path))
        if installed.resolve() != checkout.resolve():
            raise NotOurs(
                f"{environment} has the relevo of {installed} installed, but this checkout is {checkout}; "
                f"remove .venv here, and run make setup, which makes one of its own."
            )


def environment_of(engine: Engine) -> dict[str, str]:
    environment = dict(os.environ)
    prepare(environment, engine.pulumi, own_home=engine.own_home)
    return environment


def with_command_plugin(engine: Engine) -> Engine:
    """The engine with the plugin installed: the official one where it can be had, else ours.

    Ours goes into a home of the checkout, never into the one that the user's other projects share.
    """
    if needed_own_home(engine):
        engine = replace(engine, own_home=True)
    if engines.has_command_plugin(engine, environment_of(engine)):
        return engine
    if not engine.own_home:
        if engines.download_command_plugin(engine, environment_of(engine)):
            return engine
        engine = replace(engine, own_home=True)
    engines.install_own_command_plugin(engine, environment_of(engine))
    return engine


def needed_own_home(engine: Engine) -> bool:
    """Whether an earlier setup found that this engine downloads nothing. Without that file it tries again."""
    if not TOOLCHAIN.is_file():
        return False
    before = json.loads(TOOLCHAIN.read_text())
    return before["pulumi"] == engine.pulumi and before.get("own_home", False)


def create_stack(engine: Engine, environment: dict[str, str]) -> None:
    """Creates the local stack in its backend if it is not there. Raises NoStack."""
    if not environment["PULUMI_BACKEND_URL"].startswith("file://"):
        return
    listed = run(engine, environment, "stack", "ls", "--json")
    if any(stack["name"].rpartition("/")[2] == STACK for stack in json.loads(listed)):
        return
    drop_foreign_salt(CHECKOUT / f"Pulumi.{STACK}.yaml")
    say(f"creating the stack {STACK}")
    run(engine, environment, "stack", "init", STACK)


def drop_foreign_salt(config: Path) -> None:
    """Removes the `encryptionsalt` of another checkout's passphrase, which lets no stack be created here.

    Raises NoStack if values were encrypted with it: only that passphrase can read them.
    """
    text = config.read_text() if config.is_file() else ""
    without = re.sub(r"^encryptionsalt:.*\n?", "", text, flags=re.MULTILINE)
    if without == text:
        return
    if re.search(r"^\s*-?\s*secure:", text, flags=re.MULTILINE):
        raise NoStack(
            f"{config.name} has secrets of another checkout's passphrase, but this checkout has its own; "
            "set PULUMI_CONFIG_PASSPHRASE_FILE to that checkout's .relevo/passphrase."
        )
    say(f"removing from {config.name} the encryptionsalt of another checkout; a new one follows")
    write_whole(config, without)


def run(engine: Engine, environment: dict[str, str], *arguments: str) -> str:
    """The stdout of a pulumi command in the checkout. Raises NoStack with its stderr."""
    done = subprocess.run(
        [engine.pulumi, *arguments, "--non-interactive"],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise NoStack(f"`pulumi {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout


def write_whole(file: Path, text: str) -> None:
    """Never leaves half a file."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(file)
