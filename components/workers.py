"""What gunicorn says of the lives of its workers. Pure."""

from __future__ import annotations

import re

# Of a worker that nobody asked to end, in whose place it puts another.
DIED = re.compile(r"Worker \(pid:\d+\) (?:was sent SIG(?!TERM)\w+!|exited with code [1-9])")
STOPS = re.compile(r"Handling signal: (?:term|int|quit)")  # what its workers do from now on was asked for
STARTS = "Starting gunicorn"
