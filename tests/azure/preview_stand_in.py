"""A stand-in server for what a preview asks itself: a sign-in, and whether a vault's name is free."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

from tests.azure.stand_in import CLIENT, TENANT, StandInAzure

VAULT = re.compile(r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.KeyVault/vaults/[^/]+")


@contextmanager
def serving(azure: StandInAzure, folder: Path) -> Iterator[dict[str, str]]:
    """The variables by which azure-identity signs in there; `ADDRESS` is that of its resource manager."""
    authority = trustme.CA()
    certificates = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(certificates))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    class Handler(_Handler):
        of = azure

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    address = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield {
            "ADDRESS": address,
            "AZURE_AUTHORITY_HOST": address,
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": CLIENT,
            "AZURE_CLIENT_SECRET": "of a stand-in",
            "REQUESTS_CA_BUNDLE": str(certificates),
        }
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    of: StandInAzure
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.endswith("/.well-known/openid-configuration"):
            here = f"https://{self.headers['Host']}/{TENANT}"
            self._answer(
                200,
                {
                    "issuer": f"{here}/v2.0",
                    "token_endpoint": f"{here}/oauth2/v2.0/token",
                    "authorization_endpoint": f"{here}/oauth2/v2.0/authorize",
                },
            )
        elif VAULT.fullmatch(path) and (document := self.of.get(path)) is not None:
            kept = {key: document["body"][key] for key in ("location", "tags", "properties")}
            self._answer(200, {"id": path, "name": path.rpartition("/")[2], **kept})
        elif path.endswith("/providers/Microsoft.KeyVault/deletedVaults"):
            self._answer(200, {"value": []})
        else:
            self._answer(404, {"error": {"code": "ResourceNotFound", "message": f"{path} was not found."}})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.partition("?")[0].endswith("/token"):
            self._answer(200, {"token_type": "Bearer", "expires_in": 3600, "access_token": "of a stand-in"})
        else:
            self._answer(200, {"nameAvailable": True})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the output of a tool."""
