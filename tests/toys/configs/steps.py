"""Steps. Source: none."""

import ml_collections


def get_config(preset=""):
  config = ml_collections.ConfigDict()
  config.seeds = 4
  config.steps = 4
  config.seconds = 0.2  # a step
  config.broken = -1  # the seed that fails
  config.keep_params = False
  return config
