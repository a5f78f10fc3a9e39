"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import jax
import jax.numpy as jnp
import pytest

import qnn_jax

OPS = (
  "affine",
  "affine_conv",
  "heavy",
  "heavy_conv",
  "low_rank_quadratic",
  "low_rank_quadratic_conv",
  "quadratic",
  "quadratic_conv",
  "quadratic_full",
  "reduced_quadratic",
  "reduced_quadratic_conv",
)
MODULES = [
  module.name
  for module in pkgutil.walk_packages(qnn_jax.__path__, "qnn_jax.")
  if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", ["qnn_jax", *MODULES])
def test_examples(name):
  module = importlib.import_module(name)
  # A reader of an example knows what jax and jnp are.
  failed, _ = doctest.testmod(module, extraglobs={"jax": jax, "jnp": jnp})
  assert failed == 0


def test_the_ops_have_examples():
  finder = doctest.DocTestFinder()
  for name in OPS:
    (example,) = finder.find(getattr(qnn_jax.ops, name), name, module=False)
    assert example.examples
