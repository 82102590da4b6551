"""The Azure kind of target: its infrastructure as components, and what a release does on it."""
