"""The command plugin for places where the official one cannot be downloaded.

Same schema and behaviour as pulumi-command 1.2.1 for `command:local:Command` and `command:local:run`.
Deliberately different: a cancel ends the command's whole process group, by SIGTERM, and by SIGKILL after a
grace (the official one kills the shell and waits for its grandchildren), and output that is not UTF-8 is kept
with replacement characters (the official one breaks the state). `command:remote` is absent.
"""
