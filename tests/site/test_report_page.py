"""A sweep's report page in a real browser, from the disk: as people open it."""

import pytest
import report_pages

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 375, "height": 800}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """name -> the address of a page on the disk."""
  folder = tmp_path_factory.mktemp("pages")
  report_pages.make(folder / "whole")
  report_pages.make(folder / "failed", models=("a", "b", "broken"))
  report_pages.make(folder / "swept", {"scale": "0.5,1.5"})
  found = {path.name: path / "report.html" for path in folder.iterdir()}
  for name, text in (
    ("hostile", report_pages.hostile_page()),
    ("many", report_pages.many_runs()),
  ):
    found[name] = folder / f"{name}.html"
    found[name].write_text(text, encoding="utf-8")
  return {name: path.as_uri() for name, path in found.items()}


PAGES = ("whole", "failed", "swept", "hostile", "many")


@pytest.fixture
def opened(browser, files):
  """A function that opens a page; in the end nothing was asked for but the file, and no error was told."""
  contexts, asked, errors = [], [], []

  def open_page(name, **options):
    context = browser.new_context(**{"viewport": WIDE, **options})
    contexts.append(context)
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: (errors.append("a dialog"), dialog.dismiss()))
    page.goto(files[name])
    return page

  yield open_page
  for context in contexts:
    context.close()
  assert errors == []
  assert {url.partition("#")[0] for url in asked if not url.startswith("data:")} <= {
    *files.values()
  }


def is_wider_than_the_screen(page):
  return page.evaluate("document.documentElement.scrollWidth > innerWidth")


def first_column(page):
  """What the rows that are seen have in their first two cells."""
  return page.eval_on_selector_all(
    "table.runs > tbody:not([hidden]) > tr:first-child",
    "rows => rows.map(row => [row.cells[0].innerText, row.cells[1].innerText])",
  )


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("screen", (WIDE, NARROW), ids=("wide", "narrow"))
def test_it_opens_and_fits_the_screen(opened, name, screen):
  page = opened(name, viewport=screen)
  assert page.locator("h1").is_visible()
  sizes = page.eval_on_selector_all("img", "all => all.map(i => [i.complete, i.naturalWidth])")
  assert all(done and width > 0 for done, width in sizes)
  assert len(sizes) == {"swept": 2, "many": 0}.get(name, 1)
  assert not is_wider_than_the_screen(page)
  for summary in page.locator("summary:visible").all()[:20]:
    summary.click()
  assert not is_wider_than_the_screen(page)


def test_a_narrow_screen_scrolls_a_wide_table_in_its_own_box(opened):
  page = opened("whole", viewport=NARROW)
  boxes = page.eval_on_selector_all(
    ".scroll", "all => all.map(box => box.scrollWidth > box.clientWidth)"
  )
  assert any(boxes)


@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_text_can_be_read_in_both_schemes(opened, scheme):
  """Of all text, colour against background has a contrast of at least 4.5, as WCAG's level AA asks."""
  page = opened("failed", color_scheme=scheme)
  found = page.evaluate(
    """() => {
      const channels = (text) => text.match(/[\\d.]+/g).map(Number);
      const light = (text) => {
        const [r, g, b] = channels(text).map((c) => c / 255)
          .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const behind = (element) => {
        for (let e = element; e; e = e.parentElement) {
          const colour = getComputedStyle(e).backgroundColor;
          if ((channels(colour)[3] ?? 1) > 0) return colour;
        }
        return "rgb(255, 255, 255)";
      };
      const least = [];
      for (const e of document.querySelectorAll("p, li, a, td, th, h1, h2, summary, code")) {
        const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
        least.push((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
      }
      return [Math.min(...least), light(getComputedStyle(document.body).backgroundColor)];
    }"""
  )
  assert found[0] >= 4.5
  assert (found[1] > 0.9) == (scheme == "light")


@pytest.mark.fast
def test_a_cell_opens_and_shows_its_runs(opened):
  page = opened("whole")
  inner = page.locator("tr.inner")
  assert not inner.first.is_visible()
  page.locator("table.runs summary").first.click()
  assert inner.first.is_visible() and not inner.nth(1).is_visible()
  assert inner.first.locator("li").all_inner_texts() == ["0 5", "1 6", "2 7"]


def test_a_link_to_a_cell_opens_it(opened, files):
  page = opened("whole")
  page.goto(f"{files['whole']}#cell-model-b")
  assert page.locator("#cell-model-b tr.inner").is_visible()
  assert not page.locator("#cell-model-a tr.inner").is_visible()


def test_without_scripts_cells_open_all_the_same(opened):
  page = opened("whole", java_script_enabled=False)
  page.locator("table.runs summary").first.click()
  assert page.locator("tr.inner").first.is_visible()


def test_the_table_of_runs_is_sorted_by_a_click(opened):
  page = opened("many")
  rows = page.locator("table.runs > tbody")
  size = page.locator("tr.sort button", has_text="size")
  means = lambda: [float(text.split("\t")[3]) for text in rows.all_inner_texts()]
  assert [row[1] for row in first_column(page)] == [str(i) for i in range(180)]
  size.click()
  size.click()
  assert [row[1] for row in first_column(page)] == [str(i) for i in reversed(range(180))]
  head = page.locator("tr.sort th", has_text="size")
  assert head.get_attribute("aria-sort") == "descending"
  page.locator("tr.sort button", has_text="mean").click()
  assert means() == sorted(means()) and len(set(means())) > 1
  assert head.get_attribute("aria-sort") is None


def test_cells_without_a_value_are_last_both_ways(opened):
  page = opened("failed")
  button = page.locator("tr.sort button", has_text="min")
  for _ in range(2):
    button.click()
    assert first_column(page)[-1][0] == "b"  # all its runs diverged


def test_the_filter_leaves_the_rows_that_have_all_words(opened):
  page = opened("many")
  field = page.get_by_label("Filter")
  field.fill("b 17")
  assert first_column(page) == []  # 17 is of model c
  field.fill("c 17")
  assert first_column(page) == [["c", "17"]]
  assert page.get_by_role("status").inner_text() == "1 of 180 rows"
  field.fill("")
  assert len(first_column(page)) == 180


def test_it_prints_without_what_only_a_screen_needs(opened):
  page = opened("many")
  page.emulate_media(media="print")
  assert not page.locator("nav").is_visible() and not page.locator(".tools").is_visible()
  assert page.locator("table.runs").is_visible()
