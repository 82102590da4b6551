"""A headless Chromium for what a person would see: from npm where that has one, else Playwright's own.

The wheel of Playwright has the driver alone, and its browsers are not on any registry of packages.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests import node
from tests.azure.azurite import CACHE

VERSION = "147.0.0"  # of @sparticuz/chromium, which is Chromium's
UNPACK = 'import chromium from "@sparticuz/chromium"; await chromium.executablePath();'
FONTS = '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig><dir>{0}</dir>\
<cachedir>{0}/cache</cachedir></fontconfig>'


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        if sys.platform == "linux" and platform.machine() == "x86_64":
            folder = _installed()
            started = playwright.chromium.launch(
                executable_path=folder / "chromium",
                env={
                    **os.environ,
                    "LD_LIBRARY_PATH": f"{folder}/al2023/lib:{folder}",
                    "FONTCONFIG_FILE": f"{folder}/fonts.conf",
                },
            )
        else:
            subprocess.run(
                [sys.executable, "-m", "playwright", "install", "chromium"], check=True, timeout=300
            )
            started = playwright.chromium.launch()
        try:
            yield started
        finally:
            started.close()


def _installed() -> Path:
    """The folder of the pinned version, unpacked once for all test runs on this machine."""
    folder = CACHE / f"chromium-{VERSION}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "chromium.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "fonts.conf").exists():  # which is written last
            # Whatever is there is taken for whole, also what a killed run has left.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            node.install(f"@sparticuz/chromium@{VERSION}", folder)
            # It unpacks into the folder for temporary files, and its libraries only where it believes to be
            # on Amazon's servers.
            subprocess.run(
                [node.NODE, "--input-type=module", "--eval", UNPACK],
                cwd=folder,
                env={**os.environ, "TMPDIR": str(folder), "AWS_LAMBDA_JS_RUNTIME": "nodejs22.x"},
                check=True,
                timeout=120,
            )
            (folder / "fonts.conf").write_text(FONTS.format(folder / "fonts"))
    return folder
