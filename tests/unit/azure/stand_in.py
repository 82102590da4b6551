"""A stand-in for the engine: remembers what a component asks for, and invents what Azure would answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import pulumi
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks, set_mocks
from pulumi.runtime.mocks import test as awaited

from components.azure.naming import Names
from components.azure.place import Place

T = TypeVar("T")
Answer = dict[str, Any]

TAGS = {"workload": "assets", "stack": "prod"}


def place(**changed: Any) -> Place:
    """A place of the stack prod, in West Europe; not guarded, so that a test says when it is."""
    given: dict[str, Any] = {
        "names": Names("assets", "prod"),
        "subscription": "11111111-1111-1111-1111-111111111111",
        "tenant": "22222222-2222-2222-2222-222222222222",
        "resource_group": "rg-assets-prod",
        "location": "westeurope",
        "zones": ("1", "2", "3"),
        "tags": TAGS,
        "runner_addresses": (),
        "guard": False,
    }
    return Place(**{**given, **changed})


@dataclass(frozen=True)
class Made:
    """One resource as the engine gets it. `inputs` and `ignore_changes` are spelt as in Azure's API."""

    type: str  # "azure-native:keyvault:Vault"
    inputs: dict[str, Any]
    secret: frozenset[str]  # names of inputs that the state keeps encrypted
    parent: str  # Pulumi names
    depends_on: frozenset[str]  # all dependencies, also those by an output that is used
    sources: dict[str, frozenset[str]]  # the same by the input that uses the output
    protect: bool
    retain_on_delete: bool
    ignore_changes: tuple[str, ...]

    @property
    def guarded(self) -> bool:
        return self.protect and self.retain_on_delete


class StandInFailure(grpc.RpcError):
    """What a function of the provider fails with."""

    def __init__(self, details: str) -> None:
        super().__init__(details)
        self._details = details

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return self._details


class StandInEngine(Mocks):
    """A resource's id is `<Pulumi name>-id`, its output `name` `<Pulumi name>-name`.

    Each other output is an input's echo; `outputs` adds more by Pulumi name. `answers`: what a function such
    as "keyvault:getSecret" returns, or how it makes that from its arguments.
    """

    def __init__(self) -> None:
        self.made: dict[str, Made] = {}
        self.outputs: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, Answer | Callable[[Answer], Answer]] = {}
        self.called: list[tuple[str, dict[str, Any]]] = []

    def build(self, program: Callable[[], T], *, preview: bool = False) -> T:
        """Runs `program` and waits until all that it asks for is made."""
        set_mocks(self, "relevo", "prod", preview=preview, monitor=_Monitor(self))
        built: list[T] = []
        awaited(lambda: built.append(program()))()
        return built[0]

    def value(self, output: pulumi.Output[T]) -> T:
        """What an output of something built resolves to."""
        known: list[Any] = []

        def resolve() -> pulumi.Output[None]:
            return output.apply(known.append)

        awaited(resolve)()
        return known[0]

    def resources(self, output: pulumi.Output[Any]) -> set[pulumi.Resource]:
        """On what an output of something built depends."""
        known: list[set[pulumi.Resource]] = []

        async def resolve() -> None:
            known.append(await output.resources())

        awaited(lambda: pulumi.Output.from_input(resolve()))()
        return known[0]

    def plain(self, name: str) -> dict[str, Any]:
        """The inputs of what was made under the Pulumi name, secret ones in clear."""
        return _revealed(self.made[name].inputs)

    def of_type(self, type_: str) -> dict[str, Made]:
        """Pulumi name → what was made of the type, without its package: "keyvault:Vault"."""
        return {name: made for name, made in self.made.items() if made.type == f"azure-native:{type_}"}

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        invented = {"name": f"{args.name}-name", **self.outputs.get(args.name, {})}
        if args.typ == "azure-native:keyvault:Secret":
            uri = f"https://kv/secrets/{args.inputs['secretName']}"
            # An output is as secret as the input of its name.
            invented["properties"] = {
                rpc._special_sig_key: rpc._special_secret_sig,
                "value": {"secretUri": uri, "secretUriWithVersion": f"{uri}/v7"},
            }
        return f"{args.name}-id", {**args.inputs, **invented}

    def call(self, args: MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]]]:
        token = args.token.removeprefix("azure-native:")
        self.called.append((token, args.args))
        answer = self.answers.get(token, {})
        return (answer(args.args) if callable(answer) else answer), []


class _Monitor(MockMonitor):
    def __init__(self, engine: StandInEngine) -> None:
        super().__init__(engine)
        self._engine = engine

    def RegisterResource(self, request: Any) -> Any:
        response = super().RegisterResource(request)
        if request.custom:
            self._engine.made[request.name] = Made(
                type=request.type,
                inputs=rpc.deserialize_properties(request.object),
                secret=frozenset(name for name, value in request.object.fields.items() if _is_secret(value)),
                parent=_name(request.parent),
                depends_on=frozenset(_name(urn) for urn in request.dependencies),
                sources={
                    name: frozenset(map(_name, used.urns))
                    for name, used in request.propertyDependencies.items()
                },
                protect=request.protect,
                retain_on_delete=request.retainOnDelete,
                ignore_changes=tuple(request.ignoreChanges),
            )
        return response


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _is_secret(value: Any) -> bool:
    if value.HasField("list_value"):
        return any(map(_is_secret, value.list_value.values))
    if not value.HasField("struct_value"):
        return False
    fields = value.struct_value.fields
    return rpc._special_sig_key in fields or any(map(_is_secret, fields.values()))


def _revealed(value: Any) -> Any:
    if isinstance(value, list):
        return [_revealed(item) for item in value]
    if not isinstance(value, dict):
        return value
    return (
        _revealed(value["value"])
        if rpc._special_sig_key in value
        else {k: _revealed(v) for k, v in value.items()}
    )
