"""Starts a stand-in plugin as the engine expects it: `python -m tests.azure.serve PACKAGE … ENGINE`."""

import sys

from relevo.toolchain import serve


def main() -> None:
    serve.import_sdk_lightly()
    from tests.azure.stand_in import StandInAzure

    if sys.argv[1] == "docker":
        from tests.azure.docker_stand_in_plugin import DockerStandInPlugin as Plugin
    else:
        from tests.azure.stand_in_plugin import StandInPlugin as Plugin
    serve.serve(Plugin(StandInAzure.of_environment()))


if __name__ == "__main__":
    main()
