"""Heavy and Dense layers on a curve: the smoke preset, its files, and what must show."""

import jax
import numpy as np
import pytest
from flax import nnx

from configs import heavy_curve as heavy_curve_config
from experiments import heavy_curve
from qnn_jax import layers
from qnn_jax.errors import InputError
from qnn_jax.reports.rows import read_rows


def test_networks_have_equal_numbers_of_parameters_and_the_layers_they_name():
  sizes = {}
  for name, network in heavy_curve_config.get_config().networks.items():
    model = heavy_curve.make_network(network, nnx.Rngs(0))
    kinds = {"ann": layers.AffineLinear, "heavy": layers.HeavyLinear}
    assert [type(layer) for layer in model.layers] == [kinds[kind] for kind in network.kinds]
    sizes[name] = sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
  assert max(sizes.values()) <= 1.01 * min(sizes.values())


@pytest.mark.parametrize("hidden, kinds", [((), ("heavy",)), ((3, 4, 5), ("ann", "heavy") * 2)])
def test_any_depth(hidden, kinds):
  network = heavy_curve_config.get_config().networks.heavy
  network.hidden, network.kinds = hidden, kinds
  if not hidden:
    with pytest.raises(InputError, match="hidden"):
      heavy_curve.make_network(network, nnx.Rngs(0))
  else:
    outputs = heavy_curve.make_network(network, nnx.Rngs(0))(np.zeros((5, 1), np.float32))
    assert outputs.shape == (5, 1)


def test_smoke(tmp_path, monkeypatch):
  config = heavy_curve_config.get_config("smoke")
  heavy_curve.main(config, tmp_path)
  rows = read_rows(tmp_path / "results.csv")
  assert [row["status"] for row in rows] == ["ok"] * 6
  losses = read_rows(tmp_path / "losses.csv")
  for name in config.networks:
    line = [row["median"] for row in losses if row["model"] == name]
    assert line[-1] < 0.8 * line[0]
  # The fits in the file are the seed's whose error is in the table.
  fits = [row for row in read_rows(tmp_path / "fits.csv") if row["model"] == "heavy"]
  error = np.sqrt(
    np.mean([(row["fit"] - heavy_curve.curve(row["x"])) ** 2 for row in fits], dtype=float)
  )
  (told,) = [r["test_rmse"] for r in rows if (r["model"], r["seed"]) == ("heavy", fits[0]["seed"])]
  assert error == pytest.approx(told, rel=1e-4)
  assert (tmp_path / "heavy_curve.png").read_bytes().startswith(b"\x89PNG")
  monkeypatch.setattr(heavy_curve, "compute", None)  # A finished run is not computed again.
  before = (tmp_path / "heavy_curve.md").read_bytes()
  heavy_curve.main(config, tmp_path)
  assert (tmp_path / "heavy_curve.md").read_bytes() == before


def test_diverged_seeds_are_counted_and_not_averaged():
  row = {"model": "heavy", "parameters": 3, "rate": 0.1, "train_rmse": 0.5, "status": "ok"}
  rows = [row | {"seed": 0, "test_rmse": 0.25}]
  rows.append(row | {"seed": 1, "test_rmse": float("nan"), "status": "diverged"})
  (summary,) = heavy_curve.summarize(rows)
  assert summary["test_rmse_median"] == 0.25
  assert (summary["seeds"], summary["diverged"]) == (2, 1)


def test_unknown_preset():
  with pytest.raises(InputError, match="no preset 'fast'"):
    heavy_curve_config.get_config("fast")
