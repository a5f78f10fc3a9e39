"""Heavy and Dense layers on a curve: the smoke preset, its files, and what must show."""

import json

import jax
import numpy as np
import pytest
from flax import nnx
from in_process import files, read_csv, report, run, sweep_of

from configs import heavy_curve as heavy_curve_config
from experiments import minibatches
from experiments.heavy_curve import report as reports
from experiments.heavy_curve import task
from experiments.heavy_curve.__main__ import EXPERIMENT
from qnn_jax import layers
from qnn_jax.errors import InputError
from qnn_jax.sweeps import launch
from qnn_jax.sweeps.store import Store, checksum
from qnn_jax.sweeps.trained import load_model

# Its trainings run longer than they compile.
pytestmark = pytest.mark.usefixtures("as_users_compile")


def small(**changes):
  """Seconds: one network at two rates, few steps."""
  config = heavy_curve_config.get_config("smoke")
  config.networks = {"heavy": {"hidden": (3,), "kinds": ("heavy", "ann")}}
  config.update({"learning_rates": (0.03, 0.1), "epochs": 12, "points": 20} | changes)
  return config


def rows_of(workdir):
  found = Store(workdir, "heavy_curve", task.TASK.axis_names).read().found
  return {point.values: row.metrics for point, row in found.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """The workdir of a small run with its parameters, which nobody may change."""
  workdir = tmp_path_factory.mktemp("whole")
  (group,) = run(EXPERIMENT, small(keep_params=True), workdir)
  assert len(group.points) == 4  # both rates and seeds in one program
  return workdir


@pytest.fixture
def copy(whole, tmp_path):
  workdir = tmp_path / "copy"
  for path in whole.rglob("*"):
    if path.is_file():
      target = workdir / path.relative_to(whole)
      target.parent.mkdir(parents=True, exist_ok=True)
      target.write_bytes(path.read_bytes())
  return workdir


def test_networks_have_equal_numbers_of_parameters_and_the_layers_they_name():
  sizes = {}
  for name, network in heavy_curve_config.get_config().networks.items():
    model = task.make_network(network, nnx.Rngs(0))
    kinds = {"ann": layers.AffineLinear, "heavy": layers.HeavyLinear}
    assert [type(layer) for layer in model.layers] == [kinds[kind] for kind in network.kinds]
    sizes[name] = sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert task.parameters(network) == sizes[name]
  assert max(sizes.values()) <= 1.01 * min(sizes.values())


def test_any_depth():
  network = {"hidden": (3, 4, 5), "kinds": ("ann", "heavy") * 2}
  outputs = task.make_network(network, nnx.Rngs(0))(np.zeros((5, 1), np.float32))
  assert outputs.shape == (5, 1)


def test_smoke(tmp_path):
  config = heavy_curve_config.get_config("smoke")
  assert len(run(EXPERIMENT, config, tmp_path)) == 3
  rows = read_csv(tmp_path / "results.csv")
  heads = ["model", "parameters", "rate", "seed", "train_rmse", "test_rmse", "status"]
  assert list(rows[0]) == heads
  assert [row["status"] for row in rows] == ["ok"] * 6
  found = rows_of(tmp_path)
  for name in config.networks:
    line = np.median([found[name, 0.03, seed]["losses"] for seed in range(2)], axis=0)
    assert line[-1] < 0.8 * line[0] and len(line) == len(task.shown_steps(config.epochs))
  # The fits that are drawn are those whose error is in the table.
  of_run = found["heavy", 0.03, 1]
  error = task.root_mean_square(np.array(of_run["fit"]) - task.curve(task.GRID))
  assert error == pytest.approx(of_run["test_rmse"], rel=1e-4)
  assert (tmp_path / "heavy_curve.png").read_bytes().startswith(b"\x89PNG")
  before = files(tmp_path)
  assert run(EXPERIMENT, config, tmp_path) == []  # a finished run is not computed again
  assert files(tmp_path) == before
  # Another network is trained alone, whatever else there is.
  config.networks.plain = {"hidden": (2,), "kinds": ("ann", "ann")}
  (group,) = run(EXPERIMENT, config, tmp_path)
  assert {point["model"] for point in group.points} == {"plain"}


def test_diverged_seeds_are_counted_and_not_averaged():
  row = {"model": "heavy", "parameters": 3, "rate": 0.1, "train_rmse": 0.5, "status": "ok"}
  rows = [row | {"seed": 0, "test_rmse": 0.25}]
  rows.append(row | {"seed": 1, "test_rmse": None, "status": "diverged"})
  (summary,) = reports.summarize(rows)
  assert summary["test_rmse_median"] == 0.25
  assert (summary["seeds"], summary["diverged"]) == (2, 1)
  (summary,) = reports.summarize(rows[1:])
  assert summary["test_rmse_median"] is None and "| - |" in reports.table([summary])


@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")
def test_runs_that_all_diverge_make_a_report(tmp_path):
  run(EXPERIMENT, small(learning_rates=(1e38,), seeds=1), tmp_path)
  assert [row["status"] for row in read_csv(tmp_path / "results.csv")] == ["diverged"]


def test_what_is_missing_is_made_again_and_nothing_else(copy, whole):
  config = small(keep_params=True)
  run(EXPERIMENT, config, copy)
  assert files(copy) == files(whole)
  (record,) = (copy / "records").iterdir()
  content = json.loads(record.read_text())
  content["rows"] = [row for row in content["rows"] if row[2] != 1]
  record.unlink()
  part = f"part-{checksum(content)}"
  record.with_name(f"{part}.json").write_text(json.dumps(content))
  params = copy / "params" / f"{record.stem}.npz"
  params.rename(params.with_stem(part))
  (group,) = run(EXPERIMENT, config, copy)
  assert [point.values for point in group.points] == [("heavy", 0.03, 1), ("heavy", 0.1, 1)]
  for point, metrics in rows_of(whole).items():
    np.testing.assert_allclose(rows_of(copy)[point]["fit"], metrics["fit"], atol=1e-5)


def test_more_seeds_and_rates_run_alone(copy, whole):
  (group,) = run(EXPERIMENT, small(keep_params=True, seeds=3), copy)
  assert [point["seed"] for point in group.points] == [2, 2]
  config = small(keep_params=True, seeds=3, learning_rates=(0.03, 0.1, 0.2))
  (group,) = run(EXPERIMENT, config, copy)
  assert {point["rate"] for point in group.points} == {0.2}
  before = rows_of(whole)
  assert {point: rows_of(copy)[point] for point in before} == before


def test_the_report_is_made_of_the_records_alone(copy, whole):
  for name in files(copy):
    (copy / name).unlink()
  report(EXPERIMENT, small(keep_params=True), copy)
  assert files(copy) == files(whole)
  # Of a part too.
  report(EXPERIMENT, small(keep_params=True, seeds=9, learning_rates=(0.1, 0.5)), copy)
  assert len(read_csv(copy / "results.csv")) == 2


def test_a_stopped_run_carries_on_from_its_checkpoint(tmp_path, whole, monkeypatch):
  monkeypatch.setattr(minibatches, "_SECONDS", -1.0)
  config = small(keep_params=True)
  (tmp_path / "records").mkdir()
  _, sweep = sweep_of(EXPERIMENT, config, tmp_path)
  store = Store(tmp_path, EXPERIMENT.name, task.TASK.axis_names)
  events, worked = launch.run(sweep, store, launch.plan(sweep, store)), 0
  for event in events:
    worked += isinstance(event, launch.worker.Worked)
    if worked == 6:  # the first says that there was no checkpoint
      break
  events.close()
  events = list(launch.run(sweep, store, launch.plan(sweep, store)))
  first, *rest = [event for event in events if isinstance(event, launch.worker.Worked)]
  assert first.resumed and len(rest) == 12 - 4
  assert rows_of(tmp_path) == rows_of(whole)  # to the last bit
  assert not (tmp_path / "checkpoints").exists()


def test_a_network_s_field_can_be_swept(tmp_path):
  config = small(seeds=1, learning_rates=(0.1,))
  config.networks.plain = {"hidden": (2,), "kinds": ("ann", "ann")}
  groups = run(EXPERIMENT, config, tmp_path, {"networks.heavy.hidden": "(3,),(4,)"})
  assert len(groups) == 3  # the other network is the same for both
  rows = read_csv(tmp_path / "results.csv")
  found = [(row["model"], row["networks.heavy.hidden"]) for row in rows]
  assert found == [("heavy", "(3,)"), ("plain", ""), ("heavy", "(4,)")]
  assert "## networks.heavy.hidden = (4,)" in (tmp_path / "heavy_curve.md").read_text()


def test_a_kept_network_gives_what_it_gave_as_it_was_trained(whole):
  for (name, rate, seed), metrics in rows_of(whole).items():
    model = load_model(whole, model=name, rate=rate, seed=seed)
    np.testing.assert_allclose(model(task.GRID[:, None])[:, 0], metrics["fit"], rtol=1e-5)


@pytest.mark.parametrize(
  "change, message",
  [
    ({"seeds": True}, "seeds must be a whole number of at least 1, got True"),
    ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
    ({"points": 10**9}, "GiB of memory"),
    ({"epochs": 10**9}, "GiB of memory"),
    ({"seeds": 10**9}, "more than fit in memory"),
    ({"learning_rates": ()}, "learning_rates must hold at least one value"),
    ({"learning_rates": (0.1, -0.1)}, "learning_rates must be a positive number, got -0.1"),
    ({"learning_rates": (True,)}, "learning_rates must be a positive number, got True"),
    ({"noise": float("nan")}, "noise must be a finite number of at least 0, got nan"),
    ({"data_seed": -1}, "data_seed must be a whole number of at least 0, got -1"),
    ({"networks": {}}, "networks must name at least one network"),
  ],
)
def test_a_value_that_makes_no_sense_is_named(change, message):
  with pytest.raises(InputError) as error:
    refuse(small(), change)
  assert message in str(error.value)


@pytest.mark.parametrize(
  "network, message",
  [
    ({"hidden": ()}, "networks.heavy.hidden must be a tuple of at least one layer's size, got ()"),
    ({"hidden": (0,)}, "networks.heavy.hidden must be whole numbers of at least 1, got (0,)"),
    ({"hidden": (True,)}, "networks.heavy.hidden must be whole numbers"),
    ({"hidden": (10**6,)}, "GiB of memory"),
    ({"hidden": (10**12, 10**12), "kinds": ("ann",) * 3}, "GiB of memory"),
    ({"kinds": ("ann",)}, "networks.heavy.kinds must name every hidden layer and the last"),
    (
      {"kinds": ("ann", "cubic")},
      "networks.heavy.kinds: unknown head 'cubic'; choose one of ann, qnn",
    ),
    ({"width": 3}, "networks.heavy must have the fields hidden and kinds, and no others"),
  ],
)
def test_a_network_that_makes_no_sense_is_named(network, message):
  of_this = {"hidden": (3,), "kinds": ("heavy", "heavy")} | network
  with pytest.raises(InputError) as error:
    refuse(small(), {"networks": {"heavy": of_this}})
  assert message in str(error.value)


def refuse(config, change):
  values = config.to_dict() | change
  config = type(config)(values)
  EXPERIMENT.check(config)
  EXPERIMENT.task.points_of(config)


def test_unknown_preset():
  with pytest.raises(InputError, match="no preset 'fast'"):
    heavy_curve_config.get_config("fast")
