"""One module per kind of target, and the settings that every stack is described by."""
