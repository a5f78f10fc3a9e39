"""Tests in a browser."""

import shutil

import pytest


@pytest.fixture(scope="session")
def browser():
  """Debian's chromium, without a window."""
  playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
  chromium = shutil.which("chromium")
  if chromium is None:
    pytest.skip("there is no chromium; as root: apt-get install chromium")
  with playwright.sync_playwright() as started:
    running = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    yield running
    running.close()
