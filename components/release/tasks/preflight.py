"""preflight: what must hold before anything is changed, each a line; all faults are told at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from components.release import github, lint, record, restoration, review, scenario
from components.release.context import Context, StepFailed
from components.release.logbook import now
from components.release.manifest import Manifest
from components.release.pipeline import refusal
from components.release.record import Release, has_succeeded
from components.release.running import main
from components.release.schema import Schema
from components.target import DjangoFacts, TargetError

Fault = str | None


def preflight(context: Context, release: Release) -> Mapping[str, Any]:
    manifest = context.operations.artefact(context.spec.image).manifest
    faults: list[str] = []

    def check(what: str, judge: Callable[[], Fault]) -> None:
        tell(what, found(judge))

    def tell(what: str, fault: Fault, proved: str = "") -> None:
        said = fault or proved
        print(f"preflight {'FAILED' if fault else 'ok'}: {what}{f': {said}' if said else ''}", flush=True)
        if fault:
            faults.append(f"{what}: {fault.rstrip('.')}")

    print(f"preflight ok: artefact {manifest.version}, lock {manifest.lock[:19]}…", flush=True)
    check("pipeline is green", lambda: pipeline(context, manifest))
    check("secrets resolve", lambda: secrets(context))
    check("smoke scenario", lambda: smoke(context))
    check("last backup", lambda: backup(context, release))
    check("no restore is half done", lambda: restore(context))
    schema: Schema | None = None
    try:
        schema = Schema.read(context, manifest)
        decision = schema.way_back()
    except TargetError as fault:
        tell("schema can be read", str(fault))
    else:
        tell("schema knows the way back", decision.refusal, "; ".join(decision.lines()))
        accepted = context.spec.accept_incompatible
        tell("migrations let the running version live", schema.breaks(accepted=accepted))
        check("database has what the migrations need", lambda: context.operations.unmet(manifest))
    if not context.operations.missing_secrets():
        key = " and SECRET_KEY" if context.spec.secret_key else ""
        judged: dict[Fault, list[str]] = {}  # most faults are those of all processes, and are told once
        for process in ("manage", "web", *context.spec.processes):
            fault = found(lambda process=process: settings(context, release, process))
            judged.setdefault(fault, []).append(process)
        for fault, processes in judged.items():
            tell(
                f"settings of {', '.join(processes)}",
                fault,
                f"the given database{key}, DEBUG is off, hosts and origins are named",
            )
    late = review.overdue(context.releases(), context.spec.review, now())
    if late is not None:
        print(
            f"preflight: review: {late}; once this release has succeeded, its own review takes the place of "
            f"that one. To have it done before: relevo review --stack {context.stack}",
            flush=True,
        )
    if faults or schema is None:
        raise StepFailed(f"preflight found {len(faults)}: {'; '.join(faults)}.")
    pending = schema.pending()
    for migration in pending:
        print(f"migrate will apply {migration} ({migration.effect})", flush=True)
    linted = lint_of(context, release) if pending and schema.applied else []
    return {
        "pending": [str(migration) for migration in pending],
        "schema": schema.names(),
        "lint": [finding.data() for finding in linted],
    }


def lint_of(context: Context, release: Release) -> list[lint.Finding]:
    """Said and recorded, whatever it is: it never refuses a release."""
    try:
        findings = lint.findings(context, release)
    except (lint.NotLinted, TargetError) as fault:
        print(f"lint: not done, {fault}", flush=True)
        return []
    for finding in findings:
        print(f"lint: {finding}", flush=True)
    if not findings:
        print("lint: no statement makes a request wait", flush=True)
    return findings


def found(judge: Callable[[], Fault]) -> Fault:
    try:
        return judge()
    except (TargetError, scenario.ScenarioError, github.GitHubError) as error:
        return str(error)


def pipeline(context: Context, manifest: Manifest) -> Fault:
    """What the build recorded, and what CI says of the revision where the stack has one.

    What has been released here was green then: a way back must not wait for GitHub.
    """
    red = [f"{check.name} ({check.detail})" for check in manifest.pipeline if not check.passed]
    if red:
        return f"red at {', '.join(red)}; correct it, commit and build again"
    wanted = context.spec.pipeline
    if wanted is None:
        if manifest.pipeline:
            return None
        return f"no run is recorded for revision {manifest.revision}; build it with relevo build"
    if has_succeeded(context.releases(), context.spec.image):
        return None
    token = context.ci_token()
    if not token:
        return f"{wanted.token} is not set, but GitHub is asked with it; set it where pulumi up runs"
    return refusal(github.checks(wanted, manifest.revision, token), wanted, manifest.revision)


def secrets(context: Context) -> Fault:
    missing = context.operations.missing_secrets()
    return f"missing {', '.join(missing)}; give each with relevo secret set NAME" if missing else None


def smoke(context: Context) -> Fault:
    if context.spec.scenario is None:
        return None
    used = scenario.parse(context.spec.scenario, "relevo:smoke").secrets()
    unknown = sorted(used - set(context.spec.secrets))
    return f"uses {', '.join(unknown)}, not among relevo:secrets; declare it there" if unknown else None


def backup(context: Context, release: Release) -> Fault:
    """The release takes one of its own; this asks whether backups work at all in this stack's life."""
    if release.previous_image is None:
        return None
    last = context.operations.last_backup()
    remedy = "take one with relevo backup"
    if last is None:
        return f"there is none, but {release.previous_version} has run here; {remedy}"
    if not last.verified:
        return f"{last.name} was not verified; {remedy}"
    limit = timedelta(hours=context.spec.backup_max_age_hours)
    if now() - datetime.fromisoformat(last.taken_at) > limit:
        return f"{last.name} of {last.taken_at} is older than relevo:backup.maxAgeHours; {remedy}"
    return None


def restore(context: Context) -> Fault:
    """What it left belongs to another version, perhaps, than what is released."""
    begun = restoration.unfinished(record.parse(context.operations.read_record()))
    return restoration.doubt(begun, context.stack) if begun else None


def settings(context: Context, release: Release, process: str) -> Fault:
    facts = context.operations.django_facts(context.spec.image, release=release.id, process=process)
    faults = [*database_faults(context, facts), *safety_faults(facts)]
    if facts.secret_key_matches is False:
        faults.append(
            f"settings.SECRET_KEY is not the secret {context.spec.secret_key}; read it from its variable"
        )
    return ", and ".join(faults) or None


def database_faults(context: Context, facts: DjangoFacts) -> list[str]:
    """The project must use the database that it was given: many fall back to SQLite in silence."""
    given = context.operations.database()
    remedy = "map its variables in relevo:app.environment"
    if "sqlite" in facts.engine:
        return [f"the project uses SQLite ({facts.name}), not the PostgreSQL it was given; {remedy}"]
    if "postgresql" not in facts.engine and "postgis" not in facts.engine:
        return [f"settings.DATABASES has the engine {facts.engine!r}, but PostgreSQL was given; {remedy}"]
    pairs = {
        "host": (facts.host, given.host),
        "port": (facts.port or "5432", str(given.port)),
        "name": (facts.name, given.name),
    }
    return [
        f"settings.DATABASES has {part} {found!r}, but {wanted!r} was given; {remedy}"
        for part, (found, wanted) in pairs.items()
        if found != wanted
    ]


def safety_faults(facts: DjangoFacts) -> list[str]:
    faults = []
    if facts.debug:
        faults.append("DEBUG is on; turn it off")
    if not facts.allowed_hosts:
        faults.append("ALLOWED_HOSTS is empty; name the hosts")
    if any(host == "." or "*" in host for host in facts.allowed_hosts):
        faults.append("ALLOWED_HOSTS has a wildcard; name the hosts")
    if facts.cors_allow_all or (
        facts.cors_allowed_origins is not None and any("*" in o for o in facts.cors_allowed_origins)
    ):
        faults.append("CORS allows every origin; name them in CORS_ALLOWED_ORIGINS")
    elif facts.cors_allowed_origins == ():
        faults.append("CORS_ALLOWED_ORIGINS is empty; name the origins")
    return faults


if __name__ == "__main__":
    sys.exit(main("preflight", preflight))
