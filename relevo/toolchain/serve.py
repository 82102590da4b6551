"""Starts a plugin of ours as the engine expects it: its port on stdout, and gone when the engine is gone.

The scripts that `engine.py` writes run `python -P -m relevo.toolchain.serve language EXECUTOR … ENGINE` or
`… serve command … ENGINE`; what is between is the engine's, about logging and tracing.
"""

import importlib.util
import os
import signal
import stat
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from select import select
from typing import Any, Protocol

from relevo.toolchain.channel import GRPC_OPTIONS

LEAVING_SECONDS = 4.0
"""The engine kills a plugin that has not left 5 s after its SIGINT (pulumi's resource/plugin/plugin.go)."""


class Plugin(Protocol):
    def add_to(self, server: Any) -> None: ...

    def leave(self, within: float | None) -> None:
        """Ends whatever the plugin has started. Called from any thread.

        `within`: seconds that there are for it; None: nobody waits, for the engine is gone.
        """


def watch_parent(leave: Callable[[], None]) -> None:
    """Calls `leave` once the process that started us is gone, also after `kill -9`.

    The engine holds the other end of our stdin, so its death is an end of file. Where stdin is no pipe
    (started by hand), a change of the parent's id says the same a second later.
    """
    parent = os.getppid()
    readable = [0] if stat.S_ISFIFO(os.fstat(0).st_mode) else []

    def watch() -> None:
        while os.getppid() == parent:
            ready, _, _ = select(readable, [], [], 1.0)
            if ready and not os.read(0, 4096):
                break
        leave()

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


def serve(plugin: Plugin) -> None:
    """Serves until SIGINT, SIGTERM or the death of the engine. Does not return."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    def leave(within: float | None) -> None:
        plugin.leave(within)
        os._exit(0)

    def leave_soon(*_: object) -> None:
        leave(LEAVING_SECONDS)

    # A running command holds its thread, and `pulumi up --parallel` has no bound.
    server = grpc.server(ThreadPoolExecutor(max_workers=1024), options=GRPC_OPTIONS)
    plugin.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    signal.signal(signal.SIGINT, leave_soon)
    signal.signal(signal.SIGTERM, leave_soon)
    server.start()
    print(port, flush=True)
    watch_parent(lambda: leave(None))
    server.wait_for_termination()


def import_sdk_lightly() -> None:
    """Makes the SDK's protocol modules importable without the SDK: 0.1 s to start, not 0.6 s."""
    spec = importlib.util.find_spec("pulumi")
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"{sys.executable} has no pulumi package; put the checkout's .venv/bin first on PATH.")
    folder = Path(spec.submodule_search_locations[0])
    for name in ("pulumi", "pulumi.runtime", "pulumi.runtime.proto"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package


def main() -> None:
    kind, engine_address = sys.argv[1], sys.argv[-1]
    import_sdk_lightly()
    if kind == "language":
        from relevo.toolchain.language_host import LanguageHost

        serve(LanguageHost(engine_address, executor=sys.argv[2]))
    else:
        from relevo.toolchain.command_plugin.plugin import CommandPlugin

        serve(CommandPlugin(engine_address))


if __name__ == "__main__":
    main()
