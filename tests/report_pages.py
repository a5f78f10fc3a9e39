"""Workdirs with a report page, for tests: a toy sweep with all that can go wrong, and a page of hostile texts."""

import functools
import io

import numpy as np
import toy
from in_process import store_of, sweep_of
from matplotlib.image import imsave

from qnn_jax import experiment as experiments
from qnn_jax.experiment import Experiment
from qnn_jax.reports import page as pages
from qnn_jax.reports import summary
from qnn_jax.reports.panels import figure_with_panels
from qnn_jax.reports.report import Report
from qnn_jax.sweeps import launch

HOSTILE = """<script>alert("1")</script> & 'x' <img src=http://example.com/a.png onerror="alert(2)"> ]]> \x00\x0b $name ${b}"""


def report(config, rows):
  """The table that all experiments have for free, a figure, and the paper's value of model 'a'."""
  kept = [
    {k: v for k, v in row.items() if k in ("model", "seed", "value", "status")} for row in rows
  ]
  table = summary.report("toy", toy.AXES, "seed", kept)

  def figure():
    drawn, (ax,) = figure_with_panels("Toy", "Its values.", ["values"])
    ax.plot([row["value"] for row in rows], "o")
    return drawn

  beside = lambda row: {"mean": 6.25, "std": 0.5} if row["model"] == "a" else {}
  return Report(table.files | {"more.md": "# More\n\nAnother file.\n"}, figure, "", beside)


EXPERIMENT = Experiment(toy.TASK, report=report)


def make(workdir, swept=None, experiment=EXPERIMENT, only=None, **changes):
  """Runs the toy's config with these changes in a workdir, and reports; `only` are the models that run."""
  config = toy.config(**changes)
  of_sweep, sweep = sweep_of(experiment, config, workdir, swept)
  experiments.open_workdir(workdir, config, experiment.task)
  if only:
    points = [point for point in sweep.points if point["model"] in only]
    sweep = sweep_of(experiment, toy.config(**changes | {"models": only}), workdir, swept)[1]
    assert set(sweep.points) == set(points)
  store = store_of(experiment, workdir)
  list(launch.run(sweep, store, launch.plan(sweep, store)))
  return write(workdir, swept, experiment, **changes)


def write(workdir, swept=None, experiment=EXPERIMENT, **changes):
  """Reports on what is in the workdir; returns the page's text."""
  of_sweep, _ = sweep_of(experiment, toy.config(**changes), workdir, swept)
  store = store_of(experiment, workdir)
  files, _ = experiments.write_report(experiment, of_sweep, store, workdir, anew=False)
  assert files[-1] == "report.html"
  return (workdir / "report.html").read_text(encoding="utf-8")


@functools.cache
def hostile_page():
  """A page each of whose texts would be harmful if it were not escaped."""
  rows = [
    {"model": model, "seed": seed, "loss": seed / 3, "note": HOSTILE, "status": "ok"}
    for model in (HOSTILE, "b")
    for seed in range(3)
  ]
  runs = pages.Runs(("model",), "seed", ("loss", "note"), rows, {("c",): 2})
  text = f"# {HOSTILE}\n\n| a | b |\n| --- | ---: |\n| {HOSTILE.replace('|', '')} | 1<br>2 |\n\n"
  text += "![picture](http://example.com/x.png) [script](javascript:alert(3))\n"
  section = pages.Section(HOSTILE, {"toy.md": text}, runs, png())
  machine = pages.Machine(HOSTILE, HOSTILE, HOSTILE, 1, 2, (1, 2), 2**30, ((HOSTILE, HOSTILE),))
  return pages.page(
    pages.Page(
      HOSTILE, (HOSTILE,), 8, 6, 0, [section], {HOSTILE: HOSTILE}, [machine],
      [pages.Work(HOSTILE, 6, 1.5, 1.7e9, 0)], [pages.Failure(HOSTILE, 2, HOSTILE, HOSTILE)],
    ),
    HOSTILE,
  )  # fmt: skip


def png():
  """A small picture."""
  buffer = io.BytesIO()
  imsave(buffer, np.full((20, 40, 3), 0.5), format="png")
  return buffer.getvalue()


def many_runs(cells=180, seeds=25):
  """The page of as many runs as Table 4 has, on data that cost nothing."""
  rows = [
    {"model": "abc"[c % 3], "size": c, "seed": s, "accuracy": 90 + (7 * c + 3 * s) % 100 / 10, "status": "ok"}
    for c in range(cells)
    for s in range(seeds)
  ]  # fmt: skip
  runs = pages.Runs(("model", "size"), "seed", ("accuracy",), rows)
  section = pages.Section("", {"many.md": "# Many runs\n"}, runs)
  return pages.page(pages.Page("many", (), len(rows), len(rows), 0, [section], {}, [], [], []))
