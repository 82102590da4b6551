"""The two logins of the application to its database, of which one is in use. Pure.

While the other one gets a new password, nobody is cut off; then it is taken into use by a release.
"""

from __future__ import annotations

from typing import Literal

Login = Literal["a", "b"]
LOGINS: tuple[Login, ...] = ("a", "b")


def role_name(owner: str, login: str) -> str:
    """`owner`: the role to which all belongs, and which nobody logs in as."""
    return f"{owner}_{login}"


def password_secret(login: str) -> str:
    """Its name in the vault."""
    return f"database-password-{login}"


def password_variable(login: str) -> str:
    """In which the job that makes the roles finds it."""
    return f"RELEVO_PASSWORD_{login.upper()}"


def url_secret(login: str) -> str:
    return f"database-url-{login}"
