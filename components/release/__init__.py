"""The release: its order, its pure decisions and its steps. Knows no cloud and no process supervisor."""
