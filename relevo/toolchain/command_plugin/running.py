"""Runs commands, shows their lines while they run, and ends them with all their children."""

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Struct, Value
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from relevo.toolchain.command_plugin.files import BadGlob, find_files
from relevo.toolchain.command_plugin.inputs import LOGGED
from relevo.toolchain.command_plugin.wire import archive

# The official plugin sends all of it, however much. An error travels in a gRPC trailer, of which the engine
# takes up to 16 MiB, and is shown whole.
ERROR_LIMIT = 32 * 1024
# How much of a line, and how many lines of a burst, are shown while a command runs.
LINE_LIMIT = 8 * 1024
BURST = 50
# What a cancelled command has to put right what it has begun. The engine waits for it without a limit, until
# a second Ctrl-C.
GRACE_SECONDS = 20.0


class CommandError(Exception):
    """A command that could not be started, failed or was cancelled; the text is the user's."""


@dataclass
class Captured:
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    both: bytearray = field(default_factory=bytearray)


class LiveLog:
    """Sends a command's lines to the display while it runs, never slower than the command.

    One message costs 0.3 ms, so of a burst only the last lines are shown. The outputs are whole.
    """

    def __init__(self, engine: engine_pb2_grpc.EngineStub, urn: str, streams: set[int]):
        self._engine, self._urn, self._streams = engine, urn, streams
        self._partial = {1: b"", 2: b""}
        self._lines: list[bytes] = []
        self._changed = threading.Condition()
        self._ended = False
        self._sender = threading.Thread(target=self._send_all, daemon=True)
        if streams:
            self._sender.start()

    def add(self, stream: int, chunk: bytes) -> None:
        if stream in self._streams:
            *lines, rest = (self._partial[stream] + chunk).split(b"\n")
            self._partial[stream] = rest[-LINE_LIMIT:]
            with self._changed:
                self._lines += [line.removesuffix(b"\r") for line in lines]
                self._changed.notify()

    def end(self) -> None:
        if self._streams:
            with self._changed:
                self._lines += [rest for rest in self._partial.values() if rest]
                self._ended = True
                self._changed.notify()
            self._sender.join(timeout=10)

    def _send_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._ended)
                lines, self._lines = self._lines, []
            if not lines:
                return
            if len(lines) > BURST:
                lines = [b"\n".join(line[:LINE_LIMIT] for line in lines[-BURST:])]
            for message in lines:
                request = engine_pb2.LogRequest(
                    severity=engine_pb2.INFO,
                    message=message[: BURST * LINE_LIMIT].decode("utf-8", "replace"),
                    urn=self._urn,
                    ephemeral=True,
                )
                try:
                    self._engine.Log(request, timeout=5)
                except grpc.RpcError:
                    return  # The engine is leaving; the outputs do not depend on it.


class Group:
    """The process group of a command: the process that was started, which leads it, and its children."""

    def __init__(self, leader: subprocess.Popen[bytes]):
        self.leader = leader
        self._lock = threading.RLock()  # a second signal may interrupt the handler of the first
        self._ending: threading.Thread | None = None

    def end(self) -> None:
        """SIGTERM for all of it now, SIGKILL after `GRACE_SECONDS` for whoever is left. Does not wait."""
        with self._lock:
            # A command that has ended by itself may have left somebody behind on purpose.
            if self._ending is None and self.leader.returncode is None:
                self._signal(signal.SIGTERM)
                self._ending = threading.Thread(target=self._see_out, daemon=True)
                self._ending.start()

    def kill(self) -> None:
        if self.members():
            self._signal(signal.SIGKILL)

    def wait(self) -> int:
        """The leader's exit status, when it has ended; once `end` was called, when all of it has."""
        status = self.leader.wait()
        with self._lock:  # whoever ends it may not have got so far as to see it out
            ending = self._ending
        if ending is not None:
            ending.join()
        return status

    def _see_out(self) -> None:
        deadline = time.monotonic() + GRACE_SECONDS
        while self.members():
            if time.monotonic() > deadline:
                self.kill()
            time.sleep(0.05)

    def members(self) -> list[int]:
        """Who of it still runs. As long as there is somebody, the group's id cannot be another's."""
        import psutil  # only for what is cancelled, for it makes a start slower

        found = []
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
                if os.getpgid(pid) == self.leader.pid and (
                    psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(pid)
        return found

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.leader.pid, number)


class Runner:
    """Runs commands, each in a process group of its own, and can end them all."""

    def __init__(self, engine: engine_pb2_grpc.EngineStub):
        self._engine = engine
        self._running: set[Group] = set()
        self._cancelled = False
        self._changed = threading.Condition()

    def cancel(self) -> None:
        """Ends all that runs (`Group.end`) and starts nothing more. Does not wait."""
        with self._changed:
            self._cancelled = True
            for group in self._running:
                group.end()

    def leave(self, seconds: float) -> None:
        """Cancels, and returns when nothing runs any more. What still does after `seconds` is killed."""
        self.cancel()
        with self._changed:
            if not self._changed.wait_for(lambda: not self._running, seconds):
                for group in self._running:
                    group.kill()

    def run(
        self,
        command: str,
        inputs: dict[str, Any],
        previous: dict[str, Any],
        urn: str,
        context: grpc.ServicerContext,
    ) -> dict[str, Value]:
        """Its outputs: stdout and stderr, each without one last newline, and the files asked for."""
        argv = [*(inputs.get("interpreter") or ["/bin/sh", "-c"]), command]
        folder = inputs.get("dir")
        environment = {**os.environ, **inputs.get("environment", {})}
        if inputs.get("addPreviousOutputInEnv", True):
            for name in ("stdout", "stderr"):
                if previous.get(name):
                    environment[f"PULUMI_COMMAND_{name.upper()}"] = previous[name]
        stdin = inputs.get("stdin")
        log = LiveLog(self._engine, urn, LOGGED[inputs.get("logging", "stdoutAndStderr")])
        captured = Captured()
        try:
            group = self._start(argv, folder, environment, with_stdin=bool(stdin))
            if not context.add_callback(group.end):
                group.end()
            try:
                self._capture(group.leader, (stdin or "").encode(), captured, log)
                fault = exit_fault(group.wait())
            finally:
                with self._changed:
                    self._running.discard(group)
                    self._changed.notify_all()
        except CommandError as error:
            fault = str(error)
        finally:
            log.end()
        if fault:
            raise CommandError(f"{fault}: running {go_quoted(command)}:\n{end_of(bytes(captured.both))}")
        outputs = {
            "stdout": Value(string_value=without_last_newline(captured.stdout)),
            "stderr": Value(string_value=without_last_newline(captured.stderr)),
        }
        where = folder or str(Path.cwd())
        try:
            if (globs := inputs.get("assetPaths")) is not None:
                outputs["assets"] = Value(struct_value=Struct(fields=find_files(where, globs)))
            if (globs := inputs.get("archivePaths")) is not None:
                outputs["archive"] = archive(find_files(where, globs))
        except BadGlob as error:
            raise CommandError(str(error)) from None
        return outputs

    def _start(
        self, argv: list[str], folder: str | None, environment: dict[str, str], with_stdin: bool
    ) -> Group:
        with self._changed:
            if self._cancelled:
                raise CommandError("context canceled")
            try:
                process = subprocess.Popen(
                    argv,
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    process_group=0,
                )
            except OSError as error:
                raise CommandError(start_fault(argv[0], folder, error)) from None
            except ValueError as error:  # a NUL byte
                raise CommandError(f"fork/exec {argv[0]}: {error}") from None
            group = Group(process)
            self._running.add(group)
            return group

    def _capture(
        self, process: subprocess.Popen[bytes], stdin: bytes, captured: Captured, log: LiveLog
    ) -> None:
        assert process.stdout
        assert process.stderr
        if process.stdin:
            threading.Thread(target=feed, args=(process.stdin, stdin), daemon=True).start()
        with selectors.DefaultSelector() as selector, process.stdout, process.stderr:
            selector.register(process.stdout, selectors.EVENT_READ, (1, captured.stdout))
            selector.register(process.stderr, selectors.EVENT_READ, (2, captured.stderr))
            while selector.get_map():
                for key, _ in selector.select():
                    stream, buffer = key.data
                    chunk = os.read(key.fd, 64 * 1024)
                    if not chunk:
                        selector.unregister(key.fileobj)
                        continue
                    buffer += chunk
                    captured.both += chunk
                    log.add(stream, chunk)


def feed(pipe: Any, data: bytes) -> None:
    try:
        pipe.write(data)
        pipe.close()
    except BrokenPipeError:
        pass  # The command did not want to read it all.


def start_fault(program: str, folder: str | None, error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    if folder is not None and not Path(folder).is_dir():
        return f"chdir {folder}: {reason}"
    if isinstance(error, FileNotFoundError) and "/" not in program:
        return f'exec: "{program}": executable file not found in $PATH'
    return f"fork/exec {program}: {reason}"


def exit_fault(code: int) -> str:
    """Empty for success, else as Go names it."""
    if code < 0:
        return f"signal: {(signal.strsignal(-code) or str(-code)).lower()}"
    return f"exit status {code}" if code else ""


def without_last_newline(output: bytearray) -> str:
    return output.decode("utf-8", "replace").removesuffix("\n")


def go_quoted(text: str) -> str:
    """As Go's %q writes it, which is how the official plugin names the command in its errors."""
    short = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    short |= {'"': '\\"', "\\": "\\\\"}

    def quoted(character: str) -> str:
        if character in short:
            return short[character]
        if character.isprintable():
            return character
        code = ord(character)
        return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

    return '"' + "".join(map(quoted, text)) + '"'


def end_of(output: bytes) -> str:
    text = output[-ERROR_LIMIT:].decode("utf-8", "replace")
    left_out = len(output) - ERROR_LIMIT
    return f"({left_out} bytes before this are left out)\n{text}" if left_out > 0 else text
