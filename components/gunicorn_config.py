"""gunicorn's configuration on every target: the project's own, and lines of JSON where it has no say.

Read by gunicorn under the project's Python, without our modules. What the project configures of logging stays
as it is. Lines of JSON become

- gunicorn's own, unless the project gives it a handler;
- what Python's handler of last resort writes ("What happens if no configuration is provided", Logging HOWTO);
- a request's exception that would be mailed to ADMINS or go nowhere, as by Django's own configuration
  ("Django's default logging configuration").
"""

import argparse
import json
import logging
import os
import runpy
import shlex
import sys
import time

_arguments = argparse.ArgumentParser(add_help=False)
_arguments.add_argument("-c", "--config", default="gunicorn.conf.py")
_own = _arguments.parse_known_args(shlex.split(os.environ.get("GUNICORN_CMD_ARGS", "")))[0].config
_own = _own[len("file:") :] if _own.startswith("file:") else _own
if os.path.exists(_own):  # noqa: PTH110 - which gunicorn reads by itself only where it is given no other
    globals().update(
        {name: value for name, value in runpy.run_path(_own).items() if not name.startswith("_")}
    )
_theirs = {name: globals().get(name) for name in ("on_starting", "on_reload", "post_worker_init")}


class Lines(logging.Formatter):
    """One line of JSON for each record, its exception in it."""

    def format(self, record):
        said = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}"
            f".{int(record.msecs):03}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0]:
            said["exc_info"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def on_starting(server):
    """Before the first worker is there ("Server Hooks" of gunicorn)."""
    _own_lines()
    if _theirs["on_starting"]:
        _theirs["on_starting"](server)


def on_reload(server):
    """At a SIGHUP, when gunicorn has set up its handlers anew."""
    _own_lines()
    if _theirs["on_reload"]:
        _theirs["on_reload"](server)


def post_worker_init(worker):
    """Once the worker has loaded the project, which has configured what it wants."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(Lines())
    requests = logging.getLogger("django.request")
    if not _written(requests):
        handler = logging.StreamHandler(sys.stderr)
        handler.setLevel(logging.ERROR)
        handler.setFormatter(Lines())
        requests.addHandler(handler)
    if _theirs["post_worker_init"]:
        _theirs["post_worker_init"](worker)


def _own_lines():
    for handler in logging.getLogger("gunicorn.error").handlers:
        if getattr(handler, "_gunicorn", False):  # made by gunicorn itself
            handler.setFormatter(Lines())


def _written(logger):
    """Whether an error of this logger is written by some handler of its own, or of a logger above it."""
    error = logger.makeRecord(logger.name, logging.ERROR, __file__, 0, "", (), None)
    while logger is not None:
        for handler in logger.handlers:
            mails = type(handler).__name__ in ("AdminEmailHandler", "SMTPHandler", "NullHandler")
            if not mails and handler.level <= logging.ERROR and handler.filter(error):
                return True
        logger = logger.parent if logger.propagate else None
    return not logging.getLogger("django.request").isEnabledFor(logging.ERROR)
