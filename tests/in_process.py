"""An experiment run as its command does it, but in this process, with one worker and no bar."""

import csv

from qnn_jax import experiment as experiments
from qnn_jax.sweeps import launch, settings
from qnn_jax.sweeps.store import Store


def sweep_of(experiment, config, workdir, swept=None, **options):
  """(settings, Sweep) of a configuration; swept: field -> text of its values, as in --sweep.FIELD."""
  of_sweep = settings.combine(config, swept or {}, fixed=("keep_params",))
  points = {}
  for setting in of_sweep:
    experiment.check(setting.config)
    points |= dict.fromkeys(experiment.task.points_of(setting.config))
  keep = bool(config.get("keep_params", False))
  options = {"keep_params": keep, "workers": 1} | options
  return of_sweep, launch.Sweep(experiment.task, list(points), workdir, **options)


def store_of(experiment, workdir):
  """What is on disk."""
  task = experiment.task
  return Store(workdir, task.name, task.axis_names, task.possible).read()


def run(experiment, config, workdir, swept=None, **options):
  """Runs what is missing and writes the report; returns the groups that ran, none of which may fail."""
  of_sweep, sweep = sweep_of(experiment, config, workdir, swept, **options)
  experiments.open_workdir(workdir, config, experiment.task)
  store = store_of(experiment, workdir)
  events = list(launch.run(sweep, store, launch.plan(sweep, store)))
  failed = [event.why for event in events if isinstance(event, launch.Failed)]
  assert not failed, failed
  report(experiment, config, workdir, swept)
  return [event.group for event in events if isinstance(event, launch.Started)]


def report(experiment, config, workdir, swept=None):
  """Writes the report of what is on disk; returns what is printed."""
  of_sweep, _ = sweep_of(experiment, config, workdir, swept)
  store = store_of(experiment, workdir)
  return experiments.write_report(experiment, of_sweep, store, workdir)[1]


def read_csv(path):
  """The lines of a CSV file as dicts of text."""
  with open(path, newline="", encoding="utf-8") as file:
    return list(csv.DictReader(file))


def files(workdir):
  """name -> bytes of the report's files, but for report.html, which tells when its runs were done."""
  return {
    path.name: path.read_bytes()
    for path in workdir.iterdir()
    if path.is_file() and path.name not in ("config.json", "report.html")
  }
