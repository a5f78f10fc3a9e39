"""What Figs. 1 and 2, the notes and the complexity tables owe to whoever runs them in parts.

Each resumes run by run, grows, can be swept, and makes its files from its records alone.
"""

import importlib
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from in_process import files, read_csv, report, run

from experiments.backprop_notes import task as notes
from qnn_jax.datasets.clusters import make_clusters
from qnn_jax.datasets.xor import make_xor
from qnn_jax.errors import InputError
from qnn_jax.sweeps import worker
from qnn_jax.sweeps.store import Store, checksum
from qnn_jax.sweeps.trained import load_model

# A configuration that takes next to no time, one with more runs, and two values of a field.
SMALL = {
  "xor": {"seeds": 3, "epochs": 20},
  "clusters": {"seeds": 2, "epochs": 15, "train_pairs": 20, "test_pairs": 20},
  "backprop_notes": {"sizes": (2, 4, 3), "grid": 4, "epochs": 12, "seeds": 2},
  "complexity": {"sizes": (3,), "head": (4, 2)},
}
LARGER = {
  "xor": {"seeds": 5},
  "clusters": {"seeds": 3},
  "backprop_notes": {"seeds": 3},
  "complexity": {"sizes": (3, 5)},
}
SWEPT = {
  "xor": {"init": "symmetric,positive"},
  "clusters": {"learning_rate": "1e-4,1e-3"},
  "backprop_notes": {"sizes": "(2,3,1),(3,1)"},
  "complexity": {"head": "(4,2),(5,2)"},
}

every_experiment = pytest.mark.parametrize("name", SMALL)


def experiment(name):
  return importlib.import_module(f"experiments.{name}.__main__").EXPERIMENT


def small(name, **changes):
  config = importlib.import_module(f"configs.{name}").get_config("smoke")
  config.update(SMALL[name] | changes)
  return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """name -> the workdir of its small run, which nobody may change."""
  made = {}

  def of(name):
    if name not in made:
      made[name] = tmp_path_factory.mktemp(name)
      run(experiment(name), small(name), made[name])
    return made[name]

  return of


def records(workdir):
  return {path: json.loads(path.read_text()) for path in (workdir / "records").iterdir()}


def results(workdir):
  return (workdir / "results.csv").read_text().splitlines()


@pytest.fixture
def copied(finished, tmp_path):
  """name -> a copy of its small run."""
  return lambda name: shutil.copytree(finished(name), tmp_path / name)


@every_experiment
def test_a_lost_record_is_all_that_runs_again(name, copied):
  workdir = copied(name)
  whole, before = files(workdir), records(workdir)
  path, lost = next(reversed(before.items()))
  path.unlink()
  (again,) = run(experiment(name), small(name), workdir)
  assert len(again.points) == len(lost["rows"])
  assert records(workdir)[path]["rows"] == lost["rows"]
  assert files(workdir) == whole
  assert run(experiment(name), small(name), workdir) == []


@every_experiment
def test_more_runs_are_only_the_new_ones(name, copied):
  config, more, workdir = small(name), small(name, **LARGER[name]), copied(name)
  old, task = results(workdir), experiment(name).task
  grown = run(experiment(name), more, workdir)
  added = set(task.points_of(more)) - set(task.points_of(config))
  assert {point for group in grown for point in group.points} == added
  assert name == "backprop_notes" or set(old) <= set(results(workdir))  # what was there stays
  assert run(experiment(name), config, workdir) == []
  assert results(workdir) == old


@every_experiment
def test_the_files_are_made_from_the_records_alone(name, finished, tmp_path):
  shutil.copytree(finished(name) / "records", tmp_path / "records")
  assert report(experiment(name), small(name), tmp_path).startswith("# ")
  assert files(tmp_path) == files(finished(name))
  assert {"results.csv", f"{name}.md", f"{name}.csv", f"{name}.png"} == set(files(tmp_path))
  assert files(tmp_path)[f"{name}.png"].startswith(b"\x89PNG")


@every_experiment
def test_a_report_of_a_part(name, finished, tmp_path):
  (tmp_path / "records").mkdir()
  path = sorted((finished(name) / "records").iterdir())[0]
  record = json.loads(path.read_text())
  record["rows"] = record["rows"][-1:]
  (tmp_path / "records" / f"part-{checksum(record)}.json").write_text(json.dumps(record))
  assert report(experiment(name), small(name), tmp_path).startswith("# ")


@every_experiment
def test_two_values_of_a_field(name, tmp_path):
  ((field, _),) = SWEPT[name].items()
  run(experiment(name), small(name), tmp_path, SWEPT[name])
  text = (tmp_path / f"{name}.md").read_text()
  assert text.startswith(f"# {name}, by {field}\n") and text.count(f"## {field} = ") == 2
  rows = read_csv(tmp_path / "results.csv")
  if name == "complexity":  # the square layers are the same for both
    assert {(row["n"], row["m"]) for row in rows} == {("3", "3"), ("4", "2"), ("5", "2")}
    assert len(rows) == 3 * 12
  else:
    assert len({row[field] for row in rows} - {"identity"}) == 2
  assert len(read_csv(tmp_path / f"{name}.csv")) >= 4
  assert run(experiment(name), small(name), tmp_path, SWEPT[name]) == []


def test_xor_s_trained_neurons(tmp_path):
  run(experiment("xor"), small("xor", keep_params=True), tmp_path)
  x = jnp.asarray(make_xor().x)
  for record in records(tmp_path).values():
    for init, start, *values, _ in record["rows"]:
      final = np.array(values[record["metrics"].index("final_theta")])
      z = load_model(tmp_path, init=init, start=start)(x)
      b, w1, w2, q11, q12, q22 = final
      ours = np.einsum("ni,ij,nj->n", x, [[q11, q12], [q12, q22]], x) + x @ np.array([w1, w2]) + b
      np.testing.assert_allclose(z[:, 0], ours, rtol=1e-4, atol=1e-5)


def test_the_clusters_trained_layers(tmp_path):
  config = small("clusters", keep_params=True)
  run(experiment("clusters"), config, tmp_path)
  for row in read_csv(tmp_path / "results.csv"):
    seed = int(row["seed"])
    data = make_clusters(seed, config.train_pairs, config.test_pairs)
    z = np.asarray(load_model(tmp_path, model=row["model"], seed=seed)(jnp.asarray(data.test_x)))
    assert 100 * (z.argmax(-1) == data.test_y).mean() == pytest.approx(
      float(row["accuracy"]), abs=1e-3
    )


@pytest.mark.parametrize("sizes", [(2, 4, 3), (2, 2)])
def test_the_notes_trained_network(tmp_path, sizes):
  config = small("backprop_notes", sizes=sizes, seeds=1, keep_params=True)
  # The loss before step 6 is that of the network after 5.
  run(experiment("backprop_notes"), config, tmp_path, {"epochs": "5,6"})
  rows = read_csv(tmp_path / "results.csv")
  x, y = notes.samples(sizes, config.grid, 0)
  outputs = 1 / (1 + np.exp(-np.asarray(load_model(tmp_path, epochs=5)(jnp.asarray(x)), float)))
  loss = ((outputs - y) ** 2 / 2).sum(1).mean()
  assert loss == pytest.approx(float(rows[-1]["loss"]), rel=1e-5)


@pytest.mark.parametrize(("name", "theta"), [("xor", "final_theta"), ("clusters", "theta")])
def test_no_run_depends_on_its_company(name, theta, finished, tmp_path):
  task = experiment(name).task
  known = Store(finished(name), name, task.axis_names).read().found
  points = task.points_of(small(name))
  alone = task.groups(points, len(points))
  assert [len(group.points) for group in alone] == [1] * len(points)
  for group in alone:
    list(worker.run_group(task, tmp_path, False, group))
  found = Store(tmp_path, name, task.axis_names).read().found
  for point in points:
    ours, theirs = found[point].metrics[theta], known[point].metrics[theta]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


BAD = [
  ("xor", {"seeds": 10**9}, "seeds = 1,000,000,000"),
  ("xor", {"seeds": 0}, "seeds must be a whole number of at least 1, got 0"),
  ("xor", {"epochs": 0}, "epochs must be"),
  ("xor", {"epochs": True}, "epochs must be"),
  ("xor", {"learning_rate": 0.0}, "learning_rate must be a positive number"),
  ("xor", {"init_scale": -1.0}, "init_scale must be"),
  ("xor", {"init": "identity"}, "init must be one of symmetric, positive, normal"),
  ("clusters", {"seeds": 10**9}, "seeds = 1,000,000,000"),
  ("clusters", {"train_pairs": 10**9}, "train_pairs = 1,000,000,000 would take"),
  ("clusters", {"test_pairs": 10**9}, "test_pairs = 1,000,000,000 would take"),
  ("clusters", {"seeds": True}, "seeds must be"),
  ("clusters", {"models": ("rpqnn",)}, "models must be one of qnn, ann"),
  ("clusters", {"models": ()}, "models must hold at least one value"),
  ("clusters", {"epochs": -1}, "epochs must be"),
  ("clusters", {"learning_rate": float("inf")}, "learning_rate must be"),
  ("clusters", {"init": "uniform"}, "init must be one of"),
  ("backprop_notes", {"sizes": (3,)}, "sizes must hold"),
  ("backprop_notes", {"sizes": (10**6, 10**6)}, r"sizes = \(1000000, 1000000\) would take"),
  ("backprop_notes", {"grid": 10**6}, "grid = 1,000,000 .*would take"),
  ("backprop_notes", {"epochs": 10**10}, "epochs = 10,000,000,000 would take"),
  ("backprop_notes", {"seeds": 10**9}, "seeds = 1,000,000,000"),
  ("backprop_notes", {"sizes": (2, 0, 1)}, "sizes must be whole numbers of at least 1"),
  ("backprop_notes", {"grid": True}, "grid must be"),
  ("backprop_notes", {"learning_rate": -1.0}, "learning_rate must be"),
  ("complexity", {"sizes": (10**6,)}, "1,000,000 inputs and 1,000,000 neurons, of sizes, would"),
  ("complexity", {"head": (10**6, 10**6)}, "of head, would take"),
  ("complexity", {"sizes": ()}, "sizes must be at least one n"),
  ("complexity", {"head": (3,)}, "head must be a pair"),
  ("complexity", {"network": (3,)}, "network must be the sizes of at least two layers"),
  ("complexity", {"sizes": (True,)}, "sizes must be whole numbers"),
  ("complexity", {"learning_rate": 0.0}, "learning_rate must be"),
]


@pytest.mark.parametrize(("name", "changes", "told"), BAD)
def test_what_makes_no_sense_is_told_before_anything_is_on_disk(name, changes, told, tmp_path):
  config = small(name)
  with config.ignore_type():
    config.update(changes)
  with pytest.raises(InputError, match=told) as error:
    run(experiment(name), config, tmp_path / "not" / "there")
  assert "\n" not in str(error.value)
  assert list(tmp_path.iterdir()) == []
