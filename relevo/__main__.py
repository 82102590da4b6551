"""`python -m relevo`: the same as the console script."""

from relevo.cli import main

main()
