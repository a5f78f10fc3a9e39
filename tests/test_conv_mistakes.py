"""What a convolution refuses, each with one sentence."""

import jax
import jax.numpy as jnp
import pytest
from convs_in_the_place import each_of_ours, images, make

import qnn_jax
from qnn_jax import InputError

pytestmark = pytest.mark.fast


@each_of_ours  # nnx.Conv has Python's word for it
def test_what_makes_no_sense_is_told(layer):
  name = f"^{layer.__name__}"
  with pytest.raises(TypeError, match=f"{name} has no argument 'bias_int'; .* nnx.Conv"):
    make(layer, bias_int=jax.nn.initializers.ones)
  with pytest.raises(InputError, match=f"{name}: derivative must be one of closed_form, autodiff"):
    make(layer, derivative="autograd")
  with pytest.raises(InputError, match=f"{name}: in_features must be a whole .* 1, got 0"):
    make(layer, c=0)
  for wrong in ((3, 0), (3, 2.0), None, "a", (True, 3)):
    with pytest.raises(
      InputError, match=f"{name}: kernel_size must be a whole number of at least 1"
    ):
      make(layer, wrong)
  with pytest.raises(
    InputError, match=rf"{name}: kernel_size must have at least one axis, got \(\)"
  ):
    make(layer, ())
  with pytest.raises(InputError, match=f"{name}: feature_group_count must be a whole .*, got None"):
    make(layer, feature_group_count=None)
  with pytest.raises(
    InputError, match=f"{name}: feature_group_count must divide .* 4 and 6, got 4"
  ):
    make(layer, feature_group_count=4)
  with pytest.raises(InputError, match=r"^\w+_conv: x has 3 channels, but \w+ is for 4$"):
    make(layer)(images(2, c=3))
  with pytest.raises(ValueError, match="(?i)causal padding is only implemented for 1D"):
    make(layer, padding="CAUSAL")(images(2))
  with pytest.raises(ValueError, match="Mask needs to have the same shape"):
    make(layer, mask=jnp.ones((3, 2)))(images(2))


def test_rank_is_a_whole_number_of_at_least_one():
  for rank in (0, 2.5, True, "a", None):
    with pytest.raises(
      InputError, match=f"^LowRankQuadraticConv: rank must be a whole .* {rank!r}$"
    ):
      make(qnn_jax.LowRankQuadraticConv, rank=rank)
  assert make(qnn_jax.LowRankQuadraticConv, rank=2).v.shape == (3, 2, 4, 2, 6)
