"""The logbook's pages for whoever has the password, below a path of the stack's public address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from components.local import page_server
from components.local.layout import Layout
from components.local.page_server import Access
from components.local.provider import LocalProvider, Properties
from components.local.supervisor import Supervisor


class PagesProvider(LocalProvider):
    def ensure(self, inputs: Properties) -> Properties:
        layout = Layout(Path(inputs["state"]))
        access = Access(path=inputs["path"], user=inputs["user"], secret=inputs["secret"])
        page_server.ensure(layout, Supervisor(layout), access)
        return {}

    def drifted(self, inputs: Properties, outputs: Properties) -> bool:
        return not page_server.answers(Layout(Path(inputs["state"])))

    def remove(self, inputs: Properties) -> None:
        layout = Layout(Path(inputs["state"]))
        Supervisor(layout).remove(page_server.PROGRAM)
        (layout.page_server / page_server.PASSWORDS).unlink(missing_ok=True)


class PageServer(Resource, module="relevo", name="Pages"):
    state: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class PagesArgs:
    """`secret` is a name. `secret_version` changes whenever its value does."""

    state: pulumi.Input[str]
    path: str
    user: str
    secret: str
    secret_version: pulumi.Input[str | None]


class Pages(pulumi.ComponentResource):
    """Who serves them; the edge leads there."""

    def __init__(self, name: str, args: PagesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:local:Pages", name, None, opts)
        server = PageServer(
            PagesProvider(),
            f"{name}-server",
            {
                "state": args.state,
                "path": args.path,
                "user": args.user,
                "secret": args.secret,
                "secret_version": args.secret_version,
            },
            pulumi.ResourceOptions(parent=self),
        )
        self.state = server.state
        self.register_outputs({"state": self.state})
