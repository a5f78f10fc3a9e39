"""The site as a browser shows it: wide, narrow, dark, its mathematics, its search, and without a server."""

import json

import pytest
from site_pages import CONTRAST, NARROW, WIDE, Visit, pages

OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
IMAGES = (
  "() => [...document.images].filter((i) => !(i.complete && i.naturalWidth)).map((i) => i.src)"
)
# A lazy image is loaded when it comes into view.
ALL_IMAGES = """() => Promise.all([...document.images].map((image) => {
  image.loading = 'eager';
  return image.decode().catch(() => 0);
}))"""
MATH = """() => [
  document.querySelectorAll('span.math, div.math').length,
  document.querySelectorAll('mjx-container').length,
  document.querySelectorAll('mjx-merror, [data-mml-node="merror"]').length,
]"""
BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"
LEAST_CONTRAST = 4.5  # WCAG's level AA


@pytest.fixture(scope="module")
def seen(site, browser, address):
  """Page -> what a browser has measured on it; and what went wrong anywhere."""
  visit = Visit(browser.new_context(viewport=NARROW), address)
  found = {}
  for path in pages(site):
    visit.page.set_viewport_size(NARROW)
    visit.page.emulate_media(color_scheme="light")
    visit.go(path)
    visit.page.evaluate(ALL_IMAGES)
    here = found[path] = {"images": visit.page.evaluate(IMAGES), "math": visit.page.evaluate(MATH)}
    here["narrow"] = visit.page.evaluate(OVERFLOW)
    visit.page.set_viewport_size(WIDE)
    here["wide"] = visit.page.evaluate(OVERFLOW)
    for scheme in ("light", "dark"):
      visit.page.emulate_media(color_scheme=scheme)
      here[scheme] = visit.page.evaluate(BACKGROUND), *visit.page.evaluate(CONTRAST)
  visit.context.close()
  return found, visit.wrong


def test_nothing_goes_wrong_on_any_page(seen):
  """No error on the console, nothing that is missing, and nothing asked of another host."""
  assert not seen[1]
  assert len(seen[0]) > 20


def test_every_image_is_shown(seen):
  assert not {path: here["images"] for path, here in seen[0].items() if here["images"]}


def test_mathematics_is_set(seen):
  assert sum(here["math"][0] for here in seen[0].values()) > 10
  for path, here in seen[0].items():
    written, rendered, failed = here["math"]
    assert rendered == written and failed == 0, path


@pytest.mark.parametrize("width", ["narrow", "wide"])
def test_no_page_is_wider_than_the_screen(seen, width):
  assert not {path: here[width] for path, here in seen[0].items() if here[width] > 0}


def test_a_dark_scheme_is_dark(seen):
  for path, here in seen[0].items():
    light, dark = (sum(json.loads(f"[{here[s][0][4:-1]}]")) / 3 for s in ("light", "dark"))
    assert light > 200 and dark < 60, path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(seen, scheme):
  weak = {path: here[scheme][1:] for path, here in seen[0].items()}
  assert not {path: least for path, least in weak.items() if least[0] < LEAST_CONTRAST}


@pytest.mark.parametrize(
  "words, page",
  [
    ("QuadraticLinear", "api/layers.html"),
    ("half_squared_error", "api/losses.html"),
    ("job array Slurm", "clusters.html"),
    ("scikit-learn pipeline", "sklearn.html"),
  ],
)
def test_the_search_finds_the_page(opened, words, page):
  browser = opened("index.html", viewport=WIDE)
  browser.locator("input.sidebar-search").press_sequentially(words)
  browser.keyboard.press("Enter")
  browser.wait_for_url("**/search.html*")
  browser.locator(f"#search-results a[href*='{page}']").first.wait_for()


def test_the_menu_of_a_narrow_screen_opens_and_leads_on(opened):
  browser = opened("index.html", viewport=NARROW)
  link = browser.locator(".sidebar-tree a", has_text="Reference").first
  assert not _in_view(link)
  browser.locator("header label[for='__navigation']").first.click()
  browser.wait_for_timeout(500)  # it slides in
  assert _in_view(link)
  link.click()
  browser.wait_for_url("**/api/index.html")


def _in_view(locator):
  box = locator.bounding_box()
  return box is not None and box["x"] >= 0 and box["x"] + box["width"] <= NARROW["width"]


def test_the_reader_can_choose_the_dark_scheme(opened):
  browser = opened("index.html", viewport=WIDE, color_scheme="light")
  before = browser.evaluate(BACKGROUND)
  for _ in range(3):  # auto, light and dark take turns
    browser.locator("button.theme-toggle:visible").first.click()
    if browser.evaluate(BACKGROUND) != before:
      return
  pytest.fail("no click has changed the background")


def test_it_opens_without_a_server(site, opened):
  """As files: the index, its menu, and mathematics."""
  start = site.as_uri()
  index = opened("index.html", start=start, viewport=WIDE)
  assert index.locator(".sidebar-tree a").count() > 10
  with_math = next(
    path for path in pages(site) if 'class="math' in (site / path).read_text("utf-8")
  )
  assert opened(with_math, start=start, viewport=WIDE).locator("mjx-container").count() > 0
