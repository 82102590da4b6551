"""What every part of the settings is made of: a section, and the words of its errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")  # of a template without its `{{` and `}}`


def invalid(fault: str, remedy: str) -> PydanticCustomError:
    """A fault in the words of the house; the key is put before it, so `fault` starts with a verb."""
    return PydanticCustomError("relevo", "{fault}; {remedy}.", {"fault": fault, "remedy": remedy})


def accepts(what: str, **limits: Any) -> Any:
    """The field's limits, with the words by which an error says them."""
    return Field(description=what, **limits)


def at(key: str, fault: str, remedy: str) -> PydanticCustomError:
    """A fault of a key that the validator knows better than pydantic."""
    return PydanticCustomError("relevo", "{fault}; {remedy}.", {"key": key, "fault": fault, "remedy": remedy})


def line(whole: str) -> PydanticCustomError:
    """A fault that says key and remedy itself, as those of `TargetError` do."""
    return PydanticCustomError("relevo-line", "{line}", {"line": whole})


def did_you_mean(found: str, accepted: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(found, list(accepted), n=1)
    return f"did you mean {close[0]}" if close else None


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )


Text = Annotated[str, accepts("text that is not empty", pattern=r"\S")]
