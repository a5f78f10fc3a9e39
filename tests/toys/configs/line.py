"""A line. Source: none."""

import ml_collections


def get_config(preset=""):
  config = ml_collections.ConfigDict()
  config.slopes = (1.0, 2.0)
  config.seeds = 3
  config.epochs = 20
  config.learning_rate = 0.1
  config.keep_params = False
  return config


def sweep_rates():
  return [{"learning_rate": rate} for rate in (0.1, 0.2)]
