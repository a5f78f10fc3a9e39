"""DIR/report.html: what is on it, that it is valid, escaped and of itself alone, and when it is written."""

import dataclasses
import json
import math
import re
import statistics
import subprocess
import sys

import html5lib
import numpy as np
import pytest
import report_pages
import toy
from in_process import store_of, sweep_of
from PIL import Image
from report_pages import HOSTILE, hostile_page, make, many_runs, write

from qnn_jax import experiment as experiments
from qnn_jax.errors import WorkdirError
from qnn_jax.reports import figures
from qnn_jax.reports import page as pages
from qnn_jax.reports.page import anchor, looks
from qnn_jax.reports.page._text import decimals, duration, number
from qnn_jax.reports.report import Report
from qnn_jax.sweeps import failures


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
  """name -> a workdir with a page."""
  folder = tmp_path_factory.mktemp("pages")
  make(folder / "whole")
  make(folder / "failed", models=("a", "b", "broken"), only=("a", "b", "broken"))
  make(folder / "partial", models=("a", "c"), only=("a",))
  make(folder / "swept", {"scale": "0.5,1.5"})
  return {path.name: path for path in folder.iterdir()}


PAGES = ("whole", "failed", "partial", "swept", "hostile", "many")


@pytest.fixture(scope="module")
def texts(workdirs):
  """name -> the text of a page."""
  found = {n: (path / "report.html").read_text("utf-8") for n, path in workdirs.items()}
  return found | {"hostile": hostile_page(), "many": many_runs()}


def parsed(text):
  """The document; an error of the HTML standard's parser raises."""
  return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


def words(element):
  return " ".join(" ".join(element.itertext()).split())


def lines_of(table):
  """The rows of a runs table as lists of texts, without the runs within."""
  rows = [body.find("tr") for body in table.findall("tbody")]
  return [[words(cell) for cell in row] for row in rows]


@pytest.mark.parametrize("name", PAGES)
def test_it_is_valid_html_that_asks_for_nothing(texts, name):
  document = parsed(texts[name])
  elements = list(document.iter())
  assert [e for e in elements if e.tag == "h1"] and document.get("lang") == "en"
  ids = [e.get("id") for e in elements if e.get("id")]
  assert len(ids) == len(set(ids))
  for element in elements:
    for attribute, value in element.items():
      if attribute == "href":
        # An address of a markdown link is only asked for when somebody clicks on it.
        outside = element.tag == "a" and value.startswith("http://example.com/")
        assert value == "data:," or outside or (value[0] == "#" and value[1:] in ids), value
      if attribute == "src":
        assert element.tag == "img" and value.startswith("data:image/png;base64,")
      assert not attribute.startswith("on")
    if element.tag == "img":
      assert element.get("alt").startswith("Figure: ")
  (script,) = [e for e in elements if e.tag == "script"]
  assert script.text == looks()[2]
  assert "url(" not in looks()[1] and "@import" not in looks()[1] and "//" not in looks()[1]


@pytest.mark.fast
def test_hostile_texts_are_text():
  document = parsed(hostile_page())
  clean = " ".join(re.sub("[\x00\x0b]", "\ufffd", HOSTILE).split())
  assert words(document.find(".//head/title")).endswith(clean)
  found = [
    words(e) for e in document.iter() if e.tag in ("td", "th", "code", "strong", "h2", "pre")
  ]
  assert sum(clean in text for text in found) > 15
  assert not [e for e in document.iter("img") if not e.get("src").startswith("data:")]
  assert "javascript:" not in {e.get("href", "")[:11] for e in document.iter()}


def test_each_cell_has_its_statistics_and_its_runs(texts, workdirs):
  document = parsed(texts["whole"])
  (table,) = document.findall(".//table[@class='runs']")
  heads = [words(th) for th in table.findall("thead/tr[@class='sort']/th")]
  assert heads == [
    "model", "runs", "mean", "std. dev.", "min", "max", "mean", "std. dev.", "ours − paper’s",
  ]  # fmt: skip
  values = [5.0, 6.0, 7.0]
  mean, std = statistics.fmean(values), statistics.stdev(values)
  a, b = lines_of(table)
  assert a == [
    "a", "3", f"{mean:.2f}", f"{std:.2f}", "5", "7", "6.250", "0.500", "−0.250",
  ]  # fmt: skip
  assert b == ["b", "3 3 diverged", *["–"] * 7]
  inner = table.findall(".//tr[@class='inner']")
  assert [words(li) for li in inner[0].iter("li")] == ["0 5", "1 6", "2 7"]
  assert [words(li) for li in inner[1].iter("li")] == [f"{i} diverged" for i in range(3)]
  assert [body.get("id") for body in table.findall("tbody")] == ["cell-model-a", "cell-model-b"]
  assert "Lists are left out here: curve" in words(document)
  assert document.findall(".//details/summary")[0].text == "More"


def test_what_went_wrong_is_told(texts):
  failed = words(parsed(texts["failed"]))
  assert "7 of 9 runs finished 3 diverged or stuck 1 group failed" in failed
  assert "2 runs of 9 are not finished. 3 runs diverged" in failed
  assert "ValueError: it broke" in failed and "Traceback (most recent call last)" in failed
  whole = words(parsed(texts["whole"]))
  assert "6 of 6 runs finished" in whole and "3 runs diverged or got stuck" in whole
  partial = parsed(texts["partial"])
  assert "3 of 6 runs finished" in words(partial)
  (table,) = partial.findall(".//table[@class='runs']")
  assert lines_of(table)[1] == ["c", "0 of 3", *["–"] * 7]


def test_a_sweep_has_a_section_for_each_setting(texts, workdirs):
  document = parsed(texts["swept"])
  assert words(document.find(".//h1")) == "toy, by scale"
  titles = [words(h) for h in document.iter("h2")]
  assert titles[:3] == ["All settings", "scale = 0.5", "scale = 1.5"]
  every, *tables = map(lines_of, document.findall(".//table[@class='runs']"))
  assert [table[0][2] for table in tables] == ["6.00", "16.00"]
  assert every == [[f"{s}", *line] for s, table in zip((0.5, 1.5), tables) for line in table]
  assert len(list(document.iter("img"))) == 2
  config = {words(tr[0]): words(tr[1]) for tr in document.iter("tr") if len(tr) == 2}
  assert config["scale"] == "0.5 | 1.5" and config["seeds"] == "3"


def test_the_figures_of_a_sweep_are_its_png_s_parts(workdirs):
  whole = np.asarray(Image.open(workdirs["swept"] / "toy.png").convert("RGB"))
  paths = []
  for i, part in enumerate(figures.parts((workdirs["swept"] / "toy.png").read_bytes())):
    path = workdirs["swept"].parent / f"part{i}.png"
    path.write_bytes(part)
    paths.append(np.asarray(Image.open(path).convert("RGB")))
  one = np.asarray(Image.open(workdirs["whole"] / "toy.png").convert("RGB"))
  strip = (len(whole) - 2 * len(one)) // 2
  assert paths[0].shape == paths[1].shape == one.shape
  np.testing.assert_array_equal(paths[0], whole[strip : strip + len(one)])
  np.testing.assert_array_equal(paths[1], whole[-len(one) :])
  single = (workdirs["whole"] / "toy.png").read_bytes()
  assert figures.parts(single) == [single]


def test_it_is_of_the_machines_that_computed_the_runs(tmp_path):
  make(tmp_path)
  for i, path in enumerate(sorted((tmp_path / "records").iterdir())):
    record = json.loads(path.read_text())
    if i == 0:
      record["origin"] |= {"host": "far-away", "cores": 96, "cores_a_process": 4, "memory": 2**38}
      record["origin"] |= {"finished": 1.5e9, "seconds": 7200.0}
      record["origin"]["versions"]["jax"] = "0.9.9"
    else:  # of an earlier version
      names = ("finished", "seconds", "host", "device")
      record["origin"] = {name: record["origin"][name] for name in names}
      record["origin"] |= {"host": "old", "finished": 1.4e9 + i}
    path.write_text(json.dumps(record))
  text = words(parsed(write(tmp_path)))
  assert "far-away" in text and "1 96 4 256.0" in text and "0.9.9" in text
  assert "2.0 h" in text and "2017-07-14 02:40:00 UTC" in text
  old = re.search("old [^–]* – – – – –", text)
  assert old


def test_the_same_results_are_the_same_bytes_and_are_not_written_again(tmp_path):
  text = make(tmp_path)
  page = tmp_path / "report.html"
  before = page.stat().st_mtime_ns
  assert write(tmp_path) == text and page.stat().st_mtime_ns == before
  page.unlink()
  assert write(tmp_path) == text
  page.write_text(text[:-20])
  assert write(tmp_path) == text  # it was damaged
  assert make(tmp_path, seeds=4) != text


def test_that_it_cannot_be_written_is_told(tmp_path):
  make(tmp_path)
  (tmp_path / "report.html").unlink()
  (tmp_path / "report.html").mkdir()
  with pytest.raises(WorkdirError, match=r"report\.html"):
    write(tmp_path)


def test_as_many_runs_as_table_4_are_a_small_page(texts):
  assert texts["many"].count("<li><b>") == 4500
  assert len(texts["many"].encode()) < 1_000_000
  huge = many_runs(cells=60, seeds=1000)
  assert "<li><b>" not in huge and "There are too many runs to show each one here" in huge


def test_what_only_a_page_needs_is_imported_by_no_worker():
  code = "import sys; import qnn_jax.experiment; print([m for m in ('markdown_it', 'matplotlib', 'PIL') if m in sys.modules])"
  done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
  assert done.stdout == "[]\n"


@pytest.mark.fast
@pytest.mark.parametrize(
  ("values", "places", "shown"),
  [
    ([97.123, 8.1], 2, "97.12"),
    ([0.1234567], 4, "0.1235"),
    ([123456.0, 2.0], 0, "123,456"),
    ([90.0, 1e-4], None, "90"),
    ([0.0], 0, "0"),
    ([], 0, None),
    ([1e-9], None, "1e−09"),
    ([-1234.5], 0, "−1,234"),
  ],
)
def test_numbers_of_a_column_have_as_many_decimals(values, places, shown):
  assert decimals(values) == places
  assert shown is None or number(values[0], places) == shown


@pytest.mark.parametrize(
  ("seconds", "text"), [(0.04, "0.0 s"), (9.96, "10 s"), (99.6, "2 min"), (9000, "2.5 h")]
)
def test_durations(seconds, text):
  assert duration(seconds) == text


@pytest.mark.fast
def test_an_anchor_depends_on_no_order_and_holds_no_odd_character():
  assert anchor({"b": 1, "a": "x <y>"}) == anchor({"a": "x <y>", "b": 1}) == "cell-a-x-y-b-1"


def test_without_an_axis_of_seeds_each_run_is_a_row():
  rows = [{"model": m, "phase": p, "bytes": 2.5, "status": "ok"} for m in "ab" for p in "xy"]
  section = pages.Section("", {}, pages.Runs(("model", "phase"), "", ("bytes",), rows))
  document = parsed(pages.page(pages.Page("toy", (), 4, 4, 0, [section], {}, [], [], [])))
  (table,) = document.findall(".//table[@class='runs']")
  assert lines_of(table) == [[m, p, "ok", "2.500"] for m in "ab" for p in "xy"]
  assert "Each row is one run." in words(document) and table.find(".//details") is None


def test_the_store_is_read_once(workdirs):
  assert store_of(report_pages.EXPERIMENT, workdirs["whole"]).origins.keys() == {
    path.stem for path in (workdirs["whole"] / "records").iterdir()
  }


def test_a_sweep_of_failures_alone_has_a_page(tmp_path):
  config = toy.config(models=("broken",), seeds=1)
  settings, sweep = sweep_of(report_pages.EXPERIMENT, config, tmp_path)
  store = store_of(report_pages.EXPERIMENT, tmp_path)
  point = sweep.points[0]
  failures.write(tmp_path, [point], "ValueError: it <b>broke</b>", "the traceback")
  name = experiments.write_failures(report_pages.EXPERIMENT, settings, store, tmp_path)
  text = (tmp_path / name).read_text("utf-8")
  assert "it &lt;b&gt;broke&lt;/b&gt;" in text and "No run is finished" in text


_broken = lambda config, rows: [][0]
_broken_figure = lambda config, rows: Report({"toy.md": "# Toy\n"}, figure=lambda: 1 / 0)


@pytest.mark.parametrize(
  "report, error", [(_broken, IndexError), (_broken_figure, ArithmeticError)]
)
def test_a_report_that_raises_leaves_the_runs_readable(tmp_path, report, error):
  experiment = dataclasses.replace(report_pages.EXPERIMENT, report=report)
  (tmp_path / "toy.md").write_text("of an earlier command\n")
  with pytest.raises(error) as raised:
    make(tmp_path, experiment=experiment, models=("a",), seeds=3)
  assert "results.csv" in raised.value.__notes__[0]
  assert len((tmp_path / "results.csv").read_text().splitlines()) == 4
  text = (tmp_path / "report.html").read_text("utf-8")
  assert "3 of 3 runs finished" in text and "No run is finished" not in text
  assert ("The experiment's report failed" in text) == (report is _broken)
  assert ((tmp_path / "toy.md").read_text() == "# Toy\n") == (report is _broken_figure)
  assert write(tmp_path, models=("a",), seeds=3)  # with a mended report the workdir is as any other


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_takes_no_decimals(value):
  assert decimals([1.5, value]) == decimals([1.5])
