"""The environment map of a stack: templates with placeholders, which each target fills in its own way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# `{placeholder}`, or a literal brace written as `{{` or `}}`.
TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


def variables(facts: Mapping[str, Any], process: str) -> dict[str, str]:
    """The templates for "web" and "manage", or for a further process: its own over the project's."""
    own = facts["processes"][process].get("environment", {}) if process in facts["processes"] else {}
    return {**facts["app"]["environment"], **own}
