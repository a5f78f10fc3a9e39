"""Tests of the built site: `make browser` builds it, names it in SITE, and has a browser installed."""

import functools
import http.server
import os
import pathlib
import shutil
import threading

import pytest
from site_pages import Visit


@pytest.fixture(scope="session")
def site():
  """The folder of the built site."""
  if "SITE" not in os.environ:
    pytest.skip("no built site is named in SITE; make browser does so")
  folder = pathlib.Path(os.environ["SITE"]).resolve()
  assert (folder / "index.html").is_file(), folder
  return folder


class _Quiet(http.server.SimpleHTTPRequestHandler):
  def log_message(self, *arguments):
    pass


@pytest.fixture(scope="session")
def address(site):
  """Where a server of this machine has the site."""
  handler = functools.partial(_Quiet, directory=site)
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="session")
def browser():
  """Debian's chromium, without a window."""
  playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
  chromium = shutil.which("chromium")
  if chromium is None:
    pytest.skip("there is no chromium; as root: scripts/chromium.sh")
  with playwright.sync_playwright() as started:
    running = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    yield running
    running.close()


@pytest.fixture
def opened(browser, address):
  """A function that opens a page of the site and returns it; afterwards nothing may have gone wrong."""
  visits = []

  def open_page(path, start=address, **options):
    visit = Visit(browser.new_context(**options), start)
    visits.append(visit)
    visit.go(path)
    return visit.page

  yield open_page
  for visit in visits:
    visit.context.close()
    assert not visit.wrong
