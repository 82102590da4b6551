"""The plugin's service: what the engine asks, answered with the modules beside this one."""

import secrets
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2
from google.protobuf.struct_pb2 import Struct, Value
from pulumi.runtime.proto import engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

from relevo.toolchain.channel import GRPC_OPTIONS
from relevo.toolchain.command_plugin.inputs import (
    COMMAND_INPUTS,
    RUN_INPUTS,
    input_differences,
    input_faults,
    plain_inputs,
)
from relevo.toolchain.command_plugin.running import GRACE_SECONDS, CommandError, Runner
from relevo.toolchain.command_plugin.wire import UNKNOWN, plain

VERSION = "1.2.1"
"""The version of pulumi-command whose behaviour this is."""
OUTPUTS = ("stdout", "stderr", "assets", "archive")


class CommandPlugin(provider_pb2_grpc.ResourceProviderServicer):
    def __init__(self, engine_address: str):
        self._runner = Runner(
            engine_pb2_grpc.EngineStub(grpc.insecure_channel(engine_address, options=GRPC_OPTIONS))
        )

    def add_to(self, server: grpc.Server) -> None:
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(self, server)

    def leave(self, within: float | None) -> None:
        self._runner.leave(GRACE_SECONDS if within is None else within)

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
