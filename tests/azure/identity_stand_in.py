"""A stand-in for the endpoint at which a container asks for tokens of its identity.

As "Managed identities in Azure Container Apps" has it: `IDENTITY_ENDPOINT`, asked with `IDENTITY_HEADER`.
"""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from tests.azure.arm_stand_in import token

HEADER = "only-this-container-knows"


class IdentityStandIn:
    """`cold`: so many answers are errors first, as of an endpoint that begins later than its container."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.cold = 0
        self.asked: list[str] = []  # audiences

    def __enter__(self) -> IdentityStandIn:
        stand_in = self

        class Endpoint(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                stand_in.asked.append(query.get("resource", ""))
                known = query.get("client_id") == stand_in.client_id
                if stand_in.cold > 0:
                    stand_in.cold -= 1
                    self._send(400, {"error": "not_yet", "error_description": "The endpoint is starting."})
                elif self.headers.get("X-IDENTITY-HEADER") != HEADER or not known:
                    self._send(400, {"error": "invalid_request", "error_description": "No such identity."})
                else:
                    made = {
                        "access_token": token(query["resource"]),
                        "expires_on": str(int(time.time()) + 3600),
                    }
                    self._send(200, {**made, "resource": query["resource"], "token_type": "Bearer"})

            def _send(self, status: int, content: dict[str, str]) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self) -> dict[str, str]:
        return {
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}/msi/token",
            "IDENTITY_HEADER": HEADER,
        }
