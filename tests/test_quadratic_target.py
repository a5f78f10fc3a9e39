"""What the layer is for: a quadratic function of six inputs is learnt, its matrix found again."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from qnn_jax import QuadraticLinear, ops


@pytest.mark.parametrize("derivative", ["closed_form", "autodiff"])
def test_a_quadratic_target_s_matrix_is_recovered(derivative):
  with jax.enable_x64(True):
    rng = np.random.default_rng(0)
    full = rng.normal(size=(2, 6, 6))
    full = full + full.swapaxes(1, 2)
    slope, offset = rng.normal(size=(6, 2)), rng.normal(size=2)
    x = jnp.asarray(rng.normal(size=(200, 6)))
    y = np.einsum("bi,mij,bj->bm", x, full, x) + x @ slope + offset

    layer = QuadraticLinear(6, 2, param_dtype=jnp.float64, derivative=derivative, rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(layer)
    loss = lambda params: ((nnx.merge(graphdef, params)(x) - y) ** 2).mean()
    optimizer = optax.lbfgs()

    def step(carry, _):
      params, state = carry
      value, grads = optax.value_and_grad_from_state(loss)(params, state=state)
      updates, state = optimizer.update(
        grads, state, params, value=value, grad=grads, value_fn=loss
      )
      return (optax.apply_updates(params, updates), state), value

    start = params, optimizer.init(params)
    (params, _), losses = jax.jit(lambda start: jax.lax.scan(step, start, None, 80))(start)
    assert losses[0] > 10  # it had something to learn
    found = nnx.to_pure_dict(params)
    np.testing.assert_allclose(ops.unpack(found["q"]), full, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["kernel"], slope, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["bias"], offset, rtol=0, atol=1e-6)
