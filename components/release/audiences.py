"""What there is to tell of a stack, and which audience hears what of it unless it asks for something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

News = Literal[
    "started",
    "done",
    "failed",
    "rolled-back",
    "watch-breached",
    "review-due",
    "review-bad",
    "recovery-failed",
    "restored",
    "restore-failed",
    "drill-failed",
]
Audience = Literal["all", "functional", "stakeholders", "operations"]
Language = Literal["en", "es"]

EVERYTHING: tuple[News, ...] = get_args(News)
# The deployment plan tells the functional team how a release went ("Post despliegue"), and stakeholders at
# once of an incident ("Rollback y contingencias"). Both may miss what they wrote once a backup is restored.
WANTED: Mapping[str, tuple[News, ...]] = {
    "all": EVERYTHING,
    "operations": EVERYTHING,
    "functional": ("done", "rolled-back", "review-due", "review-bad", "restored"),
    "stakeholders": (
        "failed",
        "rolled-back",
        "watch-breached",
        "recovery-failed",
        "restored",
        "restore-failed",
    ),
}
