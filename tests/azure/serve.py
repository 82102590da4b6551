"""Starts the stand-in plugin as the engine expects it: `python -m tests.azure.serve … ENGINE`."""

from relevo.toolchain import serve


def main() -> None:
    serve.import_sdk_lightly()
    from tests.azure.stand_in import StandInAzure
    from tests.azure.stand_in_plugin import StandInPlugin

    serve.serve(StandInPlugin(StandInAzure.of_environment()))


if __name__ == "__main__":
    main()
