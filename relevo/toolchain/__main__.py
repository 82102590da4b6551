"""`python -m relevo.toolchain setup`: gets the engine and creates the local stack."""

import sys

from relevo.toolchain.engine import NoEngine
from relevo.toolchain.setup import NoStack, NotOurs, setup

if sys.argv[1:] != ["setup"]:
    sys.exit("usage: python -m relevo.toolchain setup")
try:
    setup()
except (NotOurs, NoEngine, NoStack) as error:
    sys.exit(f"relevo: {error}")
