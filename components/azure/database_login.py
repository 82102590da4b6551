"""Logging in to the database as the jobs' identity: with a token of Microsoft Entra ID as the password."""

from __future__ import annotations

from components.azure.login import credential

# "Use Microsoft Entra ID for authentication with Azure Database for PostgreSQL".
SCOPE = "https://ossrdbms-aad.database.windows.net/.default"


def token() -> str:
    """Good for an hour at least, and asked for only at the start of a connection."""
    return credential().get_token(SCOPE).token
