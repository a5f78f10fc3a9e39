"""Parts. Source: none."""

import ml_collections


def get_config(preset=""):
  config = ml_collections.ConfigDict()
  config.seeds = 1
  config.fails = False
  config.keep_params = False
  return config
