"""A results set like the real one: the paper's cells, each with runs scattered around its mean."""

import random

import pytest

from experiments.table4.paper import read_paper_table4
from experiments.table4.summary import Run


@pytest.fixture(scope="session")
def paper():
  return read_paper_table4()


@pytest.fixture(scope="session")
def make_runs(paper):
  def make(sizes=(600, 1200, 6000, 60000), epochs=(5, 10, 20), seeds=3, scatter=0.1):
    rng = random.Random(0)
    return [
      Run(c.model, c.train_size, c.epochs, c.hidden, seed, stats.mean + rng.gauss(0, scatter))
      for c, stats in paper.items()
      if c.train_size in sizes and c.epochs in epochs
      for seed in range(seeds)
    ]

  return make
