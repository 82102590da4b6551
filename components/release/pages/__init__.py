"""The logbook for people: static pages, each of which needs no other file."""
