"""What Azure answers instead of what was asked, as one line with the remedy, and never a token."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from components.target import TargetError

LONGEST = 200
# What may stand in an error's message and must not be repeated.
CREDENTIAL = re.compile(r"(?i)bearer\s+\S+|eyJ[\w-]+\.[\w-]+\.[\w-]*|(?:sig|client_secret|assertion)=[^&\s]+")

LOGIN = (
    "log in with az login, or give the runner a workload identity (AZURE_CLIENT_ID, AZURE_TENANT_ID, "
    "AZURE_FEDERATED_TOKEN_FILE)"
)
REMEDIES = {
    401: LOGIN,
    403: "give this login the role that the README lists for it, and let its address in by "
    "relevo:azure.runnerAddresses",
    404: "run pulumi up, which makes what is missing",
    409: "wait for what is under way there, and run pulumi up again",
    412: "run pulumi up again",
    429: "wait a few minutes, and run pulumi up again",
}
LATER = "see https://azure.status.microsoft, and run pulumi up again"


@contextlib.contextmanager
def asking(what: str) -> Iterator[None]:
    """Any fault of azure-core while doing `what` ("start the job manage") becomes a `TargetError`."""
    try:
        yield
    except HttpResponseError as error:
        raise TargetError(describe(what, error)) from None
    except AzureError as error:
        raise TargetError(
            f"cannot {what}: no answer from Azure ({type(error).__name__}: {first(str(error))}); check the "
            f"network, and run pulumi up again."
        ) from None


def status_of(act: Callable[[], object]) -> int:
    """The exit status of a job's command. A fault is the line that it prints last."""
    try:
        act()
    except TargetError as fault:
        print(fault, flush=True)
        return 1
    return 0


def describe(what: str, error: HttpResponseError) -> str:
    status = error.status_code
    if status is None:  # azure-identity's own, when there is nobody to ask as
        remedy = LOGIN if isinstance(error, ClientAuthenticationError) else LATER
        return f"cannot {what}: {first(error.message)}; {remedy}."
    said = " ".join(part for part in (_code(error), first(error.message)) if part)
    return f"cannot {what}: Azure answers {status} ({said}); {REMEDIES.get(status, LATER)}."


def first(message: object) -> str:
    """The first line that says something, without credentials and cut to a readable length."""
    lines = [line.strip() for line in str(message).splitlines() if line.strip()]
    text = CREDENTIAL.sub("********", lines[0] if lines else "no reason given").rstrip(".")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _code(error: HttpResponseError) -> str:
    """The service's word for it, unless the message has it already."""
    code = getattr(error, "error_code", None) or getattr(error.error, "code", None) or ""
    code = getattr(code, "value", code)
    return "" if str(code) in str(error.message).partition("\n")[0] else f"{code}:"
