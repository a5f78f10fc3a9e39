"""Patience. Source: none."""

import ml_collections


def get_config(preset=""):
  config = ml_collections.ConfigDict()
  config.seeds = 2
  config.keep_params = False
  return config
