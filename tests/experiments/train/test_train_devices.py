"""Data parallel: on four virtual devices the numbers of one, to rounding."""

import numpy as np
import pytest
from trainings import metrics, parameters, small, start, train

from qnn_jax.sweeps.trained import load_model

FOUR = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}


def test_four_devices_train_as_one(tmp_path):
  config = small(epochs=2)
  process = start(config, tmp_path / "four", **FOUR)
  out, _ = process.communicate()
  assert process.returncode == 0, out
  train(config, tmp_path / "one")
  one, four = (parameters(tmp_path / place) for place in ("one", "four"))
  for path, value in one.items():
    np.testing.assert_allclose(four[path], value, rtol=1e-3, atol=1e-5, err_msg=str(path))
  losses = [[line["train_loss"] for line in metrics(tmp_path / p)] for p in ("one", "four")]
  assert losses[0] == pytest.approx(losses[1], rel=1e-5)
  assert load_model(tmp_path / "four").layers  # what four devices kept is a model on one


def test_a_batch_that_does_not_divide_is_refused(tmp_path):
  process = start(small(batch_size=18), tmp_path / "four", **FOUR)
  out, _ = process.communicate()
  assert process.returncode == 1
  assert out.splitlines()[-1] == (
    "error: batch_size must be a multiple of the 4 devices of this process, got 18"
  )
