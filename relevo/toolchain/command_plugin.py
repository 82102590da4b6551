"""The command plugin for places where the official one cannot be downloaded.

Same schema and behaviour as pulumi-command 1.2.1 for `command:local:Command` and `command:local:run`.
Deliberately different: a cancel kills the command's whole process group (the official one kills the shell and
waits for its grandchildren), and output that is not UTF-8 is stored with replacement characters (the official
one breaks the state). `command:remote` is absent.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import selectors
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2
from google.protobuf.struct_pb2 import Struct, Value
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

from relevo.toolchain.serve import GRPC_OPTIONS

VERSION = "1.2.1"
"""The version of pulumi-command whose behaviour this is."""

# How property values that JSON cannot say look on the wire (sdk/go/common/resource/properties.go).
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
ASSET = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

RUN_INPUTS: dict[str, Any] = {
    "interpreter": [str],
    "dir": str,
    "environment": {str: str},
    "stdin": str,
    "logging": str,
    "assetPaths": [str],
    "archivePaths": [str],
    "addPreviousOutputInEnv": bool,
}
COMMAND_INPUTS: dict[str, Any] = {
    **RUN_INPUTS,
    "triggers": [Any],
    "create": str,
    "update": str,
    "delete": str,
}
OUTPUTS = ("stdout", "stderr", "assets", "archive")
LOGGED = {"stdout": {1}, "stderr": {2}, "stdoutAndStderr": {1, 2}, "none": set[int]()}

# The official plugin sends all of it, however much. An error travels in a gRPC trailer, of which the engine
# takes up to 16 MiB, and is shown whole.
ERROR_LIMIT = 32 * 1024
# How much of a line, and how many lines of a burst, are shown while a command runs.
LINE_LIMIT = 8 * 1024
BURST = 50


class CommandError(Exception):
    """A command that could not be started, failed or was cancelled; the text is the user's."""


# --- property values -------------------------------------------------------------------------------------


def plain(value: Value) -> Any:
    """The Python value, secrets unwrapped; unknown values stay the string `UNKNOWN`."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = value.struct_value.fields
        if SIGNATURE in fields and fields[SIGNATURE].string_value == SECRET:
            return plain(fields["value"])
        return {key: plain(item) for key, item in fields.items()}
    if kind == "list_value":
        return [plain(item) for item in value.list_value.values]
    return getattr(value, kind) if kind and kind != "null_value" else None


def plain_inputs(properties: Struct) -> dict[str, Any]:
    """The inputs among the properties, without those that are null."""
    items = ((key, plain(properties.fields[key])) for key in COMMAND_INPUTS if key in properties.fields)
    return {key: value for key, value in items if value is not None}


def asset(path: Path) -> Value:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    fields = {SIGNATURE: ASSET, "path": str(path), "hash": digest}
    return Value(struct_value=Struct(fields={key: Value(string_value=item) for key, item in fields.items()}))


def archive(assets: dict[str, Value]) -> Value:
    fields = {
        SIGNATURE: Value(string_value=ARCHIVE),
        "assets": Value(struct_value=Struct(fields=assets)),
    }
    return Value(struct_value=Struct(fields=fields))


def type_faults(path: str, value: Any, accepted: Any) -> Iterator[tuple[str, str]]:
    """(property path, what must be there instead) for each part of the value that has the wrong type."""
    if value == UNKNOWN or accepted is Any:
        return
    if isinstance(accepted, list):
        if not isinstance(value, list):
            yield path, "list"
            return
        for index, item in enumerate(value):
            yield from type_faults(f"{path}[{index}]", item, accepted[0])
    elif isinstance(accepted, dict):
        if not isinstance(value, dict):
            yield path, "map"
            return
        for key, item in value.items():
            yield from type_faults(step_into(path, key), item, accepted[str])
    elif not isinstance(value, accepted):
        yield path, {str: "string", bool: "bool"}[accepted]


def input_faults(kind: str, inputs: dict[str, Any], accepted: dict[str, Any]) -> list[tuple[str, str]]:
    """(property path, reason) for each unknown field, wrong type and unknown way of logging."""
    faults: list[tuple[str, str]] = []
    for key, value in inputs.items():
        if key not in accepted:
            faults.append((key, f"Unrecognized field '{key}' on '{kind}'"))
            continue
        for path, expected in type_faults(key, value, accepted[key]):
            faults.append((path, f"Field '{path}' on '{kind}' must be a '{expected}'"))
        if key == "logging" and isinstance(value, str) and value not in {*LOGGED, UNKNOWN}:
            faults.append(
                (key, f"Field 'logging' on '{kind}' is {value!r}, but must be one of {', '.join(LOGGED)}")
            )
    return faults


def step_into(path: str, key: str) -> str:
    """A property path one key deeper; keys with dots, brackets or quotes are quoted."""
    if key and not re.search(r'[."\[\]]', key):
        return f"{path}.{key}"
    return f"{path}[{json.dumps(key, ensure_ascii=False)}]"


# --- differences -----------------------------------------------------------------------------------------

_ADD, _DELETE, _UPDATE = "ADD", "DELETE", "UPDATE"


def differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, str]]:
    """(property path, kind) for each difference, as deep as both sides have the same shape."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict) and SIGNATURE not in old and SIGNATURE not in new:
        for key in sorted({*old, *new}):
            yield from _item_differences(step_into(path, key), old, new, key)
    elif isinstance(old, list) and isinstance(new, list):
        before, after = dict(enumerate(old)), dict(enumerate(new))
        for index in range(max(len(old), len(new))):
            yield from _item_differences(f"{path}[{index}]", before, after, index)
    else:
        yield path, _UPDATE


def _item_differences(
    path: str, old: dict[Any, Any], new: dict[Any, Any], key: Any
) -> Iterator[tuple[str, str]]:
    if key not in old:
        yield path, _ADD
    elif key not in new:
        yield path, _DELETE
    else:
        yield from differences(path, old[key], new[key])


def input_differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    """Property path → kind of difference. Only `triggers` as a whole, added or removed, replaces here.

    A changed item of it becomes a replacement by the SDK's own `replace_on_changes`.
    """
    found: dict[str, str] = {}
    for key in sorted({*old, *new}):
        for path, kind in _item_differences(key, old, new, key):
            found[path] = f"{kind}_REPLACE" if path == "triggers" and kind != _UPDATE else kind
    return found


# --- running a command -----------------------------------------------------------------------------------


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


def glob_pattern(glob: str) -> re.Pattern[str]:
    """`*` and `?` stop at `/`, `**` does not; `[a-z]`, `[!a-z]`, `{a,b}`, `\\` as in gobwas/glob."""
    pattern, depth, rest = "", 0, glob
    while rest:
        if rest.startswith("**"):
            token, part = "**", ".*"
        elif match := re.match(r"\[(!?)([^\]]+)\]", rest):
            token, part = match[0], f"[{'^' if match[1] else ''}{match[2].replace(chr(92), chr(92) * 2)}]"
        elif match := re.match(r"\\(.)", rest):
            token, part = match[0], re.escape(match[1])
        else:
            token = rest[0]
            part = {"*": "[^/]*", "?": "[^/]", "{": "(?:"}.get(token, re.escape(token))
            if depth and token in ",}":
                part = "|" if token == "," else ")"
            depth += {"{": 1, "}": -1 if depth else 0}.get(token, 0)
        pattern += part
        rest = rest[len(token) :]
    try:
        return re.compile(pattern + r"\Z", re.DOTALL)
    except re.error as error:
        raise CommandError(f"{glob!r} is not a glob: {error}") from None


def find_files(folder: str, globs: list[str]) -> dict[str, Value]:
    """Relative path → asset of the files that the globs select, evaluated in order, `!` taking out again."""
    rules = [(not glob.startswith("!"), glob_pattern(glob.removeprefix("!"))) for glob in globs]
    found: dict[str, Value] = {}
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(parent, name)
            relative = file.relative_to(folder).as_posix()
            taken = False
            for take, pattern in rules:
                taken = take if pattern.match(relative) else taken
            if taken:
                found[relative] = asset(file)
    return found


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
                self._lines += lines
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
            messages = (
                lines if len(lines) <= BURST else [b"\n".join(line[:LINE_LIMIT] for line in lines[-BURST:])]
            )
            for message in messages:
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


class Runner:
    """Runs commands, each in a process group of its own, and can kill them all."""

    def __init__(self, engine: engine_pb2_grpc.EngineStub):
        self._engine = engine
        self._running: set[subprocess.Popen[bytes]] = set()
        self._cancelled = False
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """Kills all that runs and starts nothing more."""
        with self._lock:
            self._cancelled = True
            for process in self._running:
                self._kill(process)

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
            process = self._start(argv, folder, environment, with_stdin=bool(stdin))
            context.add_callback(lambda: self._kill(process))
            try:
                self._capture(process, (stdin or "").encode(), captured, log)
            finally:
                with self._lock:
                    self._running.discard(process)
            fault = exit_fault(process.returncode)
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
        if (globs := inputs.get("assetPaths")) is not None:
            outputs["assets"] = Value(
                struct_value=Struct(fields=find_files(folder or str(Path.cwd()), globs))
            )
        if (globs := inputs.get("archivePaths")) is not None:
            outputs["archive"] = archive(find_files(folder or str(Path.cwd()), globs))
        return outputs

    def _start(
        self, argv: list[str], folder: str | None, environment: dict[str, str], with_stdin: bool
    ) -> subprocess.Popen[bytes]:
        with self._lock:
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
            self._running.add(process)
            return process

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
        process.wait()

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        # Not poll(): as long as it has not been waited for, the group's id cannot be another's.
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


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


# --- the plugin ------------------------------------------------------------------------------------------


class CommandPlugin(provider_pb2_grpc.ResourceProviderServicer):
    def __init__(self, engine_address: str):
        self._runner = Runner(
            engine_pb2_grpc.EngineStub(grpc.insecure_channel(engine_address, options=GRPC_OPTIONS))
        )

    def add_to(self, server: grpc.Server) -> None:
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(self, server)

    def leave(self) -> None:
        self._runner.cancel()

    def Handshake(self, request, context):
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version=VERSION)

    def CheckConfig(self, request, context):
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request, context):
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request, context):
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Check(self, request, context):
        self._accept_only_command(request.urn, context)
        news = request.news
        inputs = {key: value for key in news.fields if (value := plain(news.fields[key])) is not None}
        faults = input_faults("local.Command", inputs, COMMAND_INPUTS)
        if "addPreviousOutputInEnv" not in inputs:
            news.fields["addPreviousOutputInEnv"].bool_value = True
        failures = [provider_pb2.CheckFailure(property=path, reason=reason) for path, reason in faults]
        return provider_pb2.CheckResponse(inputs=news, failures=failures)

    def Diff(self, request, context):
        old, new = plain_inputs(request.olds), plain_inputs(with_ignored(request))
        found = input_differences(old, new)
        kinds = provider_pb2.PropertyDiff.Kind
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if found else provider_pb2.DiffResponse.DIFF_NONE,
            replaces=[path for path, kind in found.items() if kind.endswith("_REPLACE")],
            diffs=list(found),
            detailedDiff={
                path: provider_pb2.PropertyDiff(kind=kinds.Value(kind)) for path, kind in found.items()
            },
            hasDetailedDiff=True,
        )

    def Create(self, request, context):
        inputs = plain_inputs(request.properties)
        state = request.properties
        if request.preview:
            set_outputs(state, dict.fromkeys(("stdout", "stderr"), Value(string_value=UNKNOWN)))
            return provider_pb2.CreateResponse(properties=state)
        set_outputs(state, dict.fromkeys(("stdout", "stderr"), Value(string_value="")))
        self._run(inputs.get("create"), inputs, {}, request.urn, state, context)
        name = request.urn.rpartition("::")[2]
        return provider_pb2.CreateResponse(id=f"{name}{secrets.token_hex(4)}", properties=state)

    def Read(self, request, context):
        return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    def Update(self, request, context):
        state = with_ignored(request)
        old, new = plain_inputs(request.olds), plain_inputs(state)
        kept = {name: request.olds.fields[name] for name in OUTPUTS if name in request.olds.fields}
        set_outputs(state, kept)
        if request.preview:
            if any(new.get(key) != value for key, value in old.items()):
                set_outputs(state, {name: Value(string_value=UNKNOWN) for name in kept})
            return provider_pb2.UpdateResponse(properties=state)
        command = new.get("update", new.get("create"))
        self._run(command, new, outputs_of(request.olds), request.urn, state, context)
        return provider_pb2.UpdateResponse(properties=state)

    def Delete(self, request, context):
        old = plain_inputs(request.properties)
        previous = outputs_of(request.properties)
        self._run(old.get("delete"), old, previous, request.urn, Struct(), context)
        return empty_pb2.Empty()

    def Invoke(self, request, context):
        if request.tok != "command:local:run":
            abort(context, f"unknown function {request.tok}; this plugin knows only command:local:run")
        accepted = {**RUN_INPUTS, "command": str}
        given = {
            key: value for key, item in request.args.fields.items() if (value := plain(item)) is not None
        }
        faults = input_faults("local.run", given, accepted)
        if "command" not in given:
            faults.append(("command", "Missing required field 'command' on 'local.run'"))
        if faults:
            failures = [provider_pb2.CheckFailure(property=path, reason=reason) for path, reason in faults]
            return provider_pb2.InvokeResponse(failures=failures)
        state = Struct()
        state.CopyFrom(request.args)
        self._run(given["command"], given, {}, "", state, context)
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(state)
        return response

    def Cancel(self, request, context):
        self._runner.cancel()
        return empty_pb2.Empty()

    def _run(
        self,
        command: str | None,
        inputs: dict[str, Any],
        previous: dict[str, Any],
        urn: str,
        state: Struct,
        context: grpc.ServicerContext,
    ) -> None:
        """Runs the command, if there is one, and writes its outputs into the state."""
        if command is None:
            return
        try:
            set_outputs(state, self._runner.run(command, inputs, previous, urn, context))
        except CommandError as error:
            abort(context, str(error))

    @staticmethod
    def _accept_only_command(urn: str, context: grpc.ServicerContext) -> None:
        kind = urn.split("::")[2].rpartition("$")[2]
        if kind != "command:local:Command":
            abort(context, f"unknown resource {kind}; this plugin knows only command:local:Command")


def set_outputs(state: Struct, outputs: dict[str, Value]) -> None:
    for name, value in outputs.items():
        state.fields[name].CopyFrom(value)


def outputs_of(state: Struct) -> dict[str, Any]:
    return {name: plain(state.fields[name]) for name in OUTPUTS if name in state.fields}


def with_ignored(request: Any) -> Struct:
    """The new inputs, with the old value of each that `ignoreChanges` names."""
    for name in request.ignoreChanges:
        if name in request.olds.fields:
            request.news.fields[name].CopyFrom(request.olds.fields[name])
    return request.news


def abort(context: grpc.ServicerContext, text: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, text)
    raise AssertionError("abort returned")
