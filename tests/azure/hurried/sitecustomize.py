"""Shortens the pauses between two questions to Azure: the stand-in counts questions, and not seconds.

On PYTHONPATH of a release on the stand-in, so that every step's process starts with it.
"""

import contextlib

PAUSE = 0.05

with contextlib.suppress(ImportError):  # a process of another environment
    from components.azure import waiting

    waiting.PAUSE = PAUSE
    (waiting.until.__kwdefaults__ or {})["pause"] = PAUSE
