"""Checks a template with checkov's rules and Microsoft's models, both in an environment of their own.

By hand: `make -s export STACK=prod | python -m tests.azure.crosscheck.run`. Once installed, without network.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
LOCK = Path(__file__).with_name("requirements-lock.txt")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "relevo-tests"
SECONDS = 300


@dataclass(frozen=True)
class Findings:
    """`failed` and `suppressed`: (check, resource, what it asks)."""

    failed: tuple[tuple[str, str, str], ...]
    suppressed: tuple[tuple[str, str, str], ...]
    passed: int


def installed() -> Path:
    """The environment's interpreter; made once for all test runs on this machine (200 MB, half a minute)."""
    folder = CACHE / f"crosscheck-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]}"
    python = folder / "bin" / "python"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "crosscheck.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            uv = [sys.executable, "-m", "uv"]
            _run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
            _run([*uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(LOCK)])
            (folder / "whole").touch()
    return python


def checkov(template: dict[str, Any]) -> Findings:
    with tempfile.TemporaryDirectory(prefix="relevo-checkov-") as made:
        file = Path(made, "template.json")
        file.write_text(json.dumps(template))
        words = ["--framework", "arm", "--file", str(file), "--output", "json", "--compact"]
        # Nothing is asked of or sent to anybody; the exit code is for those who do not read the findings.
        offline = ["--skip-download", "--soft-fail"]
        checkov = installed().with_name("checkov")
        printed = _run([str(checkov), *words, *offline], cwd=made)
    found = json.loads(printed)["results"]
    passed = json.loads(printed)["summary"]["passed"]
    return Findings(_checks(found["failed_checks"]), _checks(found["skipped_checks"]), passed)


def models(template: dict[str, Any]) -> list[str]:
    """A line for each property that Microsoft's clients do not have, or not so."""
    python = [str(installed()), "-P", "-m", "tests.azure.crosscheck.models"]
    return _run(python, stdin=json.dumps(template)).splitlines()


def _checks(found: Sequence[dict[str, Any]]) -> tuple[tuple[str, str, str], ...]:
    return tuple((one["check_id"], one["resource"], one["check_name"]) for one in found)


def _run(argv: Sequence[str], *, cwd: str | None = None, stdin: str = "") -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LOG_LEVEL": "ERROR"}
    done = subprocess.run(
        argv, cwd=cwd, env=environment, input=stdin, capture_output=True, text=True, timeout=SECONDS
    )
    if done.returncode:
        raise RuntimeError(f"{argv[0]} exited {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout


def main() -> None:
    template = json.load(sys.stdin)
    found = checkov(template)
    for check, resource, asks in found.failed:
        print(f"{check} {resource}: {asks}")
    faults = models(template)
    print("\n".join(faults) if faults else "Microsoft's clients know every property.")
    print(f"checkov: {found.passed} passed, {len(found.suppressed)} suppressed, {len(found.failed)} failed")
    sys.exit(1 if found.failed or faults else 0)


if __name__ == "__main__":
    main()
