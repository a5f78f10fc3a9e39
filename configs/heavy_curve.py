"""Stacks of Heavy and Dense layers fitted to a curve, compared with a plain network of equal size.

Source: the notes on Heavy layers, which use them together with Dense layers. The curve is a wave
whose frequency rises, sin(3.2 pi (x + 1/2)^2) on [-1, 1], with noise on 120 training points. The
networks have sigmoid hidden layers and a linear output. They are trained with the half squared error
and Adam on the full batch, with 10 seeds at each of three learning rates. All have 141 or 142
parameters.

  python -m experiments.heavy_curve --config=configs/heavy_curve.py
  python -m experiments.heavy_curve --config=configs/heavy_curve.py:smoke
  python -m experiments.heavy_curve --config=configs/heavy_curve.py --sweep=noise --workdir=results/noise

Cost: 30 to 60 seconds on two cores. Expect these median errors on the curve without noise (the
noise is 0.05): the Heavy network is near 0.03 at learning rates 0.01 and 0.03, where the plain
network is at 0.13 and 0.06. At rate 0.1 the plain network is better than the Heavy network, and the
network of Heavy and Dense layers is better than both. So no network is best at every rate. To change
the depth, set `networks.NAME.hidden` and `networks.NAME.kinds`. Preset `smoke`: seconds. You may add
networks, rates and seeds later: only the new runs are trained.
"""

import ml_collections

from qnn_jax.errors import InputError


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  """All networks, rates and seeds; preset 'smoke' takes seconds."""
  if preset not in ("", "smoke"):
    raise InputError(f"configs/heavy_curve.py has no preset '{preset}'; choose smoke or none")
  config = ml_collections.ConfigDict()
  config.networks = ml_collections.ConfigDict(
    {
      # kinds: the kind of every layer, including the last.
      "dense": {"hidden": (10, 10), "kinds": ("ann", "ann", "ann")},
      "heavy": {"hidden": (7, 7), "kinds": ("heavy", "heavy", "heavy")},
      "heavy-dense-heavy": {"hidden": (7, 12), "kinds": ("heavy", "ann", "heavy")},
    }
  )
  config.points = 120
  config.noise = 0.05  # standard deviation
  config.data_seed = 5
  config.learning_rates = (0.01, 0.03, 0.1)  # of Adam
  config.epochs = 4000  # each epoch is one step on the full batch
  config.seeds = 10  # seeds 0 to 9
  config.keep_params = False  # True: DIR/params keeps every trained network
  if preset == "smoke":
    config.learning_rates = (0.03,)
    config.epochs = 100
    config.seeds = 2
  return config


def sweep_noise() -> list[dict]:
  """The networks at three levels of noise."""
  return [{"noise": noise} for noise in (0.0, 0.05, 0.2)]
