"""What a step knows: the target's operations, the release's spec and the record, from two variables."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from typing import Any, Self

from components.masking import Masking
from components.release import logbook, record
from components.release.record import Event, Release
from components.release.spec import Spec
from components.target import Artefact, NotKept, Operations, TargetError, load_operations

TARGET = "RELEVO_TARGET"
SPEC = "RELEVO_RELEASE"
APPROVED = "RELEVO_APPROVED_PREVIEW"
DECIDED = "RELEVO_DECIDED_AT"
# By which the engine that released found its state. Of a passphrase itself is told on only that there is one.
ENGINE = ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_HOME")
PASSPHRASE = "PULUMI_CONFIG_PASSPHRASE"
AT_ONCE = 8  # artefacts that are read, each with two or three questions to a registry
SOURCE = "take both from a step's environment in pulumi stack export"


class StepFailed(Exception):
    """The step ends the release; the message is its one line, `data` goes into the record beside it."""

    def __init__(self, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.data = data or {}


@dataclass(frozen=True, kw_only=True)
class Context:
    stack: str
    trigger: str  # what the release is of: a digest of the whole description
    spec: Spec
    operations: Operations

    @classmethod
    def load(cls, target: str, spec: str) -> Self:
        """From the two JSON texts. Raises `StepFailed` for others."""
        try:
            described = json.loads(target)
            return cls(
                stack=described["stack"],
                trigger=trigger(target, spec),
                spec=Spec.from_json(spec),
                operations=load_operations(described["operations"], described["facts"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StepFailed(
                f"{TARGET} or {SPEC} does not describe a release "
                f"({' '.join(str(error).split())[:200]}); {SOURCE}."
            ) from None

    @classmethod
    def from_environment(cls) -> Self:
        missing = [name for name in (TARGET, SPEC) if name not in os.environ]
        if missing:
            raise StepFailed(f"{' and '.join(missing)} missing, but a step is described by them; {SOURCE}.")
        return cls.load(os.environ[TARGET], os.environ[SPEC])

    def releases(self) -> list[Release]:
        return record.releases(record.parse(self.operations.read_record()))

    def current(self) -> Release:
        """The release under way. Raises `StepFailed` when this step does not belong to it."""
        newest = record.current(self.releases())
        if newest is None or newest.trigger != self.trigger:
            found = f"{newest.id} ({newest.image})" if newest else "no release"
            raise StepFailed(
                f"the record has {found} under way, but this step is of another one, of {self.spec.image}; "
                f"run pulumi up."
            )
        return newest

    @staticmethod
    def to_hand_over() -> dict[str, str]:
        """What a step was described by, and its engine: for who goes on with the release without either."""
        known = {name: os.environ[name] for name in (TARGET, SPEC, *ENGINE) if name in os.environ}
        return {**known, PASSPHRASE: "set"} if PASSPHRASE in os.environ else known

    def masking(self) -> Masking:
        """Of the stack's secrets and CI's token, as far as they resolve."""
        values = []
        for name in self.spec.secrets:
            with contextlib.suppress(TargetError):
                values.append(self.operations.secret(name))
        if self.spec.pipeline is not None:
            values.append(os.environ.get(self.spec.pipeline.token, ""))
        return Masking(values)

    def ci_token(self) -> str | None:
        """From the secret or the variable that relevo:pipeline.token names. Raises `TargetError`."""
        if self.spec.pipeline is None:
            return None
        name = self.spec.pipeline.token
        return self.operations.secret(name) if name in self.spec.secrets else os.environ.get(name)

    def write(
        self,
        event: Event,
        release: str | None,
        *,
        step: str | None = None,
        seconds: float | None = None,
        error: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        logbook.write(
            self.operations,
            event,
            release=release,
            image=self.spec.image,
            step=step,
            seconds=seconds,
            error=error,
            data=data,
        )

    def earlier(self) -> tuple[list[Artefact], TargetError | None]:
        """Artefacts of the releases in the record, newest first, as far as they are still kept.

        And why the first of them could not be read that is kept all the same.
        """
        ran = dict.fromkeys(release.image for release in reversed(self.releases()))
        # Its threads are daemons: a preview that has given the registry up does not end later for them.
        with ThreadPool(AT_ONCE) as together:
            found = together.map(self._kept, [image for image in ran if image != self.spec.image])
        unread = next((one for one in found if isinstance(one, TargetError)), None)
        return [one for one in found if isinstance(one, Artefact)], unread

    def _kept(self, image: str) -> Artefact | TargetError | None:
        try:
            return self.operations.artefact(image)
        except NotKept:
            return None
        except TargetError as fault:
            return fault


def trigger(target: str, spec: str) -> str:
    """The digest of a release's whole description: a release is repeated when, and only when, it changes."""
    described = [json.loads(target), json.loads(spec)]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
