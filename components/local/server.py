"""Where a stack's PostgreSQL is and who administers it: its own, or one that its configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from components.local import vault

OWN_ADMINISTRATOR = "relevo_admin"


@dataclass(frozen=True, kw_only=True)
class Server:
    """The defaults are those of a stack's own server. Of the password it has the secret's name only."""

    port: int
    host: str = "127.0.0.1"
    role: str = OWN_ADMINISTRATOR
    secret: str = vault.SUPERUSER
    sslmode: str = "disable"
    sslrootcert: str = ""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """The server in a target's facts."""
        existing = facts["database"].get("server")
        return cls(**existing) if existing else cls(port=facts["ports"]["database"])

    @property
    def existing(self) -> bool:
        """Whether it was there before the stack, and stays when the stack goes."""
        return self.secret != vault.SUPERUSER

    @property
    def address(self) -> str:
        """`host:port`, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def secret_of(self, user: str) -> str:
        """The name of the secret that is the password of the project's role."""
        return self.secret if user == self.role else vault.DATABASE_USER

    def tls_variables(self) -> dict[str, str]:
        """libpq's variables, for those who connect by it."""
        certificate = {"PGSSLROOTCERT": self.sslrootcert} if self.sslrootcert else {}
        return {"PGSSLMODE": self.sslmode, **certificate}
