"""The steps as processes: `python -m components.release.tasks.<name>`, started by the engine, or by hand."""
