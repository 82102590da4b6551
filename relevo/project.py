"""The Pulumi project that a command is about: the nearest folder with a Pulumi.yaml, and its stacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.local import ports
from components.local.environment import HOST
from components.local.layout import Layout
from relevo.errors import RelevoError
from relevo.store import Store
from stacks.folders import state_folder, store_folder
from stacks.settings import Settings, load_file


@dataclass(frozen=True, kw_only=True)
class Project:
    root: Path
    variables: Mapping[str, str] = field(default_factory=dict)  # of its engine, besides those that are set

    @classmethod
    def here(cls) -> Project:
        """The project of the working directory. Raises `RelevoError` outside of one."""
        start = Path.cwd()
        for folder in (start, *start.parents):
            if (folder / "Pulumi.yaml").is_file():
                return cls(root=folder)
        raise RelevoError(
            f"{start} has no Pulumi.yaml in it or above; change into the checkout of your stack."
        )

    @property
    def store(self) -> Store:
        return Store(store_folder(self.root))

    def configuration(self, stack: str) -> Path:
        return self.root / f"Pulumi.{stack}.yaml"

    def settings(self, stack: str) -> Settings:
        return load_file(self.configuration(stack))

    def state(self, stack: str) -> Path:
        """Absolute; whether it exists or not. Raises `RelevoError` for a stack that is elsewhere."""
        settings = self.settings(stack)
        if settings.target != "local":
            raise RelevoError(
                f"stack {stack} is of target {settings.target}, but this command looks at what is on this "
                f"machine; see docs/azure.md for what tells of a stack on Azure."
            )
        return state_folder(self.root, stack, settings)

    def address(self, stack: str) -> str:
        """The public address. Raises `RelevoError` if the stack was never brought up."""
        port = ports.saved(Layout(self.state(stack))).get("public")
        if port is None:
            raise RelevoError(
                f"stack {stack} has no address yet, but pulumi up gives it one; "
                f"run pulumi up --stack {stack}."
            )
        return f"http://{HOST}:{port}"

    def stacks(self) -> Iterator[str]:
        for path in sorted(self.root.glob("Pulumi.*.yaml")):
            yield path.name.removeprefix("Pulumi.").removesuffix(".yaml")
