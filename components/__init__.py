"""The pieces of a release: the target's infrastructure and the ordered steps that run on it."""
