"""What a stack asks of Azure, as an ARM template: `make -s export STACK=prod`.

A preview of the checkout's program on the stand-in, which answers what only an `up` would tell. Nothing of it
is kept. Secrets are shown as `[secret]`. Only the template is written to stdout. What checkov shall leave is
in the resources' metadata, from crosscheck/suppressed.yaml.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from relevo.toolchain.command_plugin.wire import UNKNOWN
from tests.azure import arm, home, preview_stand_in, sdk
from tests.azure.project import STACKS, AzureProject
from tests.azure.stand_in import SUBSCRIPTION, StandInAzure

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
SUPPRESSED = Path(__file__).with_name("crosscheck") / "suppressed.yaml"
LATER = "[parameters('madeByTheEngine')]"  # what is first made in an `up`
AT_SUBSCRIPTION = "Microsoft.Resources/resourceGroups"

Document = dict[str, Any]


class NoTemplate(Exception):
    """The preview failed; the text is what it printed."""


def export(stack: str) -> Document:
    """The template of a stack. Raises `NoTemplate`."""
    with tempfile.TemporaryDirectory(prefix="relevo-export-") as made:
        folder = Path(made)
        azure = StandInAzure.make(folder / "azure")
        azure.order(known=True)
        variables = home.make(folder / "home", os.environ)
        with preview_stand_in.serving(azure, folder) as served:
            project = AzureProject(folder / "project", stack, azure, {**variables, **served})
            del project.environment["PULUMI_OPTION_POLICY_PACK"]  # what a stack is, whether allowed or not
            project.init()
            return template(preview(project))


def preview(project: AzureProject) -> list[Document]:
    """Every resource that an `up` would make. Raises `NoTemplate`."""
    printed = project.preview("--json", status=None)
    start = printed.find("{\n")
    try:
        found, _ = json.JSONDecoder().raw_decode(printed[max(start, 0) :])
    except ValueError:
        raise NoTemplate(printed) from None
    faults = [one["message"] for one in found.get("diagnostics") or () if one["severity"] == "error"]
    if faults or "create" not in found.get("changeSummary", {}):
        raise NoTemplate("".join(faults) or printed)
    return [step["newState"] for step in found["steps"] if step["op"] == "create"]


def template(resources: Sequence[Document]) -> Document:
    """ARM's resources, by id."""
    by_urn = {resource["urn"]: resource for resource in resources}
    ids = {urn: _id(resource) for urn, resource in by_urn.items() if _of_azure(resource)}
    return {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "resources": [
            _resource(by_urn[urn], ids[urn], _before(urn, by_urn, ids))
            for urn in sorted(ids, key=ids.__getitem__)
        ],
    }


def _resource(resource: Document, id_: str, before: Sequence[str]) -> Document:
    token, inputs = resource["type"], resource["inputs"]
    type_ = arm.TYPES[arm.kind(token)]
    found: Document = {
        "type": type_.type,
        "apiVersion": sdk.resource(token).api_version,
        "name": "/".join(arm.names(token, inputs)),
    }
    if type_.scope is not None:
        found["scope"] = inputs[type_.scope]
    elif type_.type != AT_SUBSCRIPTION:
        found["resourceGroup"] = inputs["resourceGroupName"]
    if skipped := [*_skipped(found["type"], found["name"])]:
        found["metadata"] = {"checkov": skipped}
    return {**found, **_shown(arm.body(token, inputs)), "dependsOn": list(before), "id": id_}


def _skipped(type_: str, name: str) -> Iterator[str]:
    for one in suppressions():
        if one["type"] == type_ and fnmatchcase(name, one.get("name", "*")):
            yield f"checkov:skip={one['check']}:{one['reason']}"


@functools.cache
def suppressions() -> tuple[Document, ...]:
    """`check`, `type`, `name` (a pattern; all if missing) and `reason`."""
    return tuple(YAML(typ="safe").load(SUPPRESSED.read_text()))


def _before(urn: str, by_urn: Mapping[str, Document], ids: Mapping[str, str]) -> list[str]:
    """Ids of what must be there first, also through what is none of Azure's resources."""
    found: dict[str, None] = {}
    seen, rest = {urn}, [*by_urn[urn].get("dependencies", ())]
    while rest:
        next_ = rest.pop()
        if next_ in seen:
            continue
        seen.add(next_)
        if next_ in ids:
            found[ids[next_]] = None
        elif next_ in by_urn:
            rest += by_urn[next_].get("dependencies", ())
    return sorted(found)


def _id(resource: Document) -> str:
    return arm.resource_id(resource["type"], resource["inputs"], SUBSCRIPTION)


def _of_azure(resource: Document) -> bool:
    return resource["type"].startswith(f"{sdk.PACKAGE}:")


def _shown(value: Any) -> Any:
    """Without the engine's sign for what is not known."""
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    if isinstance(value, str) and UNKNOWN in value:
        return LATER
    return value


def main() -> None:
    stack = sys.argv[1] if len(sys.argv) == 2 else ""
    if stack not in STACKS:
        sys.exit(f"STACK is {stack or 'missing'}, but {', '.join(STACKS)} are accepted; name one.")
    # What the home's making says is no part of the template.
    out, sys.stdout = sys.stdout, sys.stderr
    try:
        found = export(stack)
    except NoTemplate as fault:
        sys.exit(f"the preview of {stack} failed:\n{fault}")
    json.dump(found, out, indent=2)
    out.write("\n")


if __name__ == "__main__":
    main()
