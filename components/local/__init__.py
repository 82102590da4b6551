"""The local kind of target: real servers from PyPI wheels on loopback, under a supervisor of their own."""
