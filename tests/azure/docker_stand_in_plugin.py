"""The stand-in docker plugin: it builds nothing, and pushes an image of the labels that its Dockerfile sets.

Checked are the inputs, by the installed SDK's types, that there is a Dockerfile in the context, and that the
registry to push to exists by then.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import plugin_pb2, provider_pb2

from relevo.toolchain.command_plugin.inputs import differences
from tests.azure import images, sdk
from tests.azure.faults import faults
from tests.azure.stand_in_plugin import StandInPlugin, _abort, _inputs, _token, _unknown

LABEL = re.compile(r'^LABEL (\S+)="(.*)"$', re.MULTILINE)
DIGEST = "contextDigest"  # by which the official one, too, sees that a file has changed


class DockerStandInPlugin(StandInPlugin):
    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version=sdk.DOCKER_VERSION)

    def Check(self, request, context):
        inputs = _inputs(request.news)
        found = faults(sdk.resource(_token(request.urn)), inputs)
        dockerfile = Path(inputs["build"]["dockerfile"])
        if not dockerfile.is_file():
            found.append(("build.dockerfile", f"{dockerfile} is no file"))
        self._azure.note("check", urn=request.urn, faults=found)
        checked = Struct()
        checked.CopyFrom(request.news)
        if not found:
            checked.fields["build"].struct_value[DIGEST] = _digest(Path(inputs["build"]["context"]))
        failures = [provider_pb2.CheckFailure(property=path, reason=reason) for path, reason in found]
        return provider_pb2.CheckResponse(inputs=checked, failures=failures)

    def Diff(self, request, context):
        changed = list(differences("", _inputs(request.old_inputs), _inputs(request.news)))
        kinds = provider_pb2.DiffResponse
        return kinds(changes=kinds.DIFF_SOME if changed else kinds.DIFF_NONE)

    def Create(self, request, context):
        if request.preview:
            return provider_pb2.CreateResponse(properties=_unknown(_token(request.urn), request.properties))
        made = self._pushed(request.urn, request.properties, context)
        return provider_pb2.CreateResponse(id=made["imageName"], properties=_struct(made))

    def Update(self, request, context):
        if request.preview:
            return provider_pb2.UpdateResponse(properties=_unknown(_token(request.urn), request.news))
        return provider_pb2.UpdateResponse(
            properties=_struct(self._pushed(request.urn, request.news, context))
        )

    def Read(self, request, context):
        return provider_pb2.ReadResponse(id=request.id, inputs=request.inputs, properties=request.properties)

    def Delete(self, request, context):
        """The official one leaves the registry's images alone as well."""
        return empty_pb2.Empty()

    def _pushed(self, urn: str, properties: Struct, context: grpc.ServicerContext) -> dict[str, Any]:
        self._obey(urn, context)
        inputs = _inputs(properties)
        name, build = inputs["imageName"], inputs["build"]
        repository = name.rpartition(":")[0]
        server = repository.partition("/")[0]
        registries = (document["outputs"].get("loginServer") for document in self._azure.resources())
        if server not in registries:
            _abort(context, f"failed to push {name}: dial tcp: lookup {server}: no such host")
        labels = dict(LABEL.findall(Path(build["dockerfile"]).read_text()))
        digest, documents = images.image(labels)
        pushed = {key: data.decode() for key, data in documents.items()}
        self._azure.note("push", urn=urn, digest=digest, labels=labels, documents=pushed)
        return {
            "baseImageName": name,
            "context": build["context"],
            "dockerfile": build["dockerfile"],
            "imageName": name,
            "platform": build.get("platform"),
            "registryServer": server,
            "repoDigest": f"{repository}@{digest}",
        }


def _digest(context: Path) -> str:
    found = hashlib.sha256()
    for file in sorted(file for file in context.rglob("*") if file.is_file()):
        found.update(f"{file.relative_to(context)}\0".encode() + file.read_bytes())
    return found.hexdigest()


def _struct(values: Mapping[str, Any]) -> Struct:
    made = Struct()
    made.update(values)
    return made
