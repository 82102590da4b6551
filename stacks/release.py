"""From settings to what the release is to do, whatever the target."""

from __future__ import annotations

from pathlib import Path

from components.release import scenario
from components.release.spec import (
    Commands,
    Limits,
    Pipeline,
    Probe,
    Receiver,
    Review,
    Spec,
    Volume,
    Watch,
)
from stacks.settings import Settings, SettingsError

LONGEST_SCENARIO = 64 * 1024  # of the 128 KiB that execve(2) gives one variable


def release_spec(settings: Settings, root: Path) -> Spec | None:
    """`root` is the folder of Pulumi.yaml. Raises `SettingsError` and `ScenarioError`.

    None: nothing is pinned on Azure, where the registry is there before an artefact can be in it.
    """
    if settings.image is None and settings.target == "azure":
        return None
    if settings.image is None:
        raise SettingsError(
            "relevo:image is missing, but a digest says what to release; "
            "run relevo build PATH, then relevo pin DIGEST."
        )
    app = settings.app
    return Spec(
        image=settings.image,
        instances=settings.instance_names,
        processes=tuple(app.processes),
        commands=Commands(**app.commands.model_dump()),
        # An image for Azure has them in it: one-off jobs share no folder with the sites.
        collectstatic=app.collectstatic and settings.target == "local",
        probe=Probe(**app.probe.model_dump()),
        scenario=read_scenario(settings.smoke, root) if settings.smoke else None,
        checks=settings.checks,
        secrets=tuple(settings.secrets),
        secret_key=app.secret_key,
        limits=Limits(**settings.limits.model_dump()),
        backup_max_age_hours=settings.backup.max_age_hours,
        drill=settings.backup.drill,
        notify=tuple(
            Receiver(**{**receiver.model_dump(), "language": receiver.language or settings.language})
            for receiver in settings.notify
        ),
        accept_incompatible=settings.accept_incompatible,
        responsible=settings.responsible,
        language=settings.language,
        pipeline=Pipeline(**settings.pipeline.model_dump()) if settings.pipeline else None,
        watch=Watch(**settings.watch.model_dump()) if settings.watch.minutes else None,
        review=review_spec(settings),
    )


def review_spec(settings: Settings) -> Review | None:
    if (asked := settings.review) is None:
        return None
    volumes = tuple(Volume(name=name, **volume.model_dump()) for name, volume in asked.volumes.items())
    return Review(hours=asked.hours, weeks=asked.weeks, volumes=volumes)


def read_scenario(name: str, root: Path) -> str:
    """The scenario's text, once it is known to be one."""
    try:
        text = (root / name).read_text()
    except OSError as error:
        raise SettingsError(
            f"relevo:smoke is {name}, but it cannot be read ({error.strerror}); "
            f"give a path relative to Pulumi.yaml."
        ) from None
    found = scenario.parse(text, name)
    if not found.paths():
        return text
    whole = found.with_files(lambda path: _beside(root / name, path, name)).to_text()
    if len(whole) > LONGEST_SCENARIO:
        raise SettingsError(
            f"{name} with its files has {len(whole)} bytes, but at most {LONGEST_SCENARIO} are accepted: a "
            f"step gets it in a variable; use smaller files, or workbooks that the scenario describes."
        )
    return whole


def _beside(scenario_file: Path, path: str, name: str) -> bytes:
    try:
        return (scenario_file.parent / path).read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{name} uploads {path}, but it cannot be read ({error.strerror}); give a path relative to it."
        ) from None
