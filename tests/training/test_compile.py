"""Loops compiled as one kernel: where they are, and that they change no number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.xla_metadata import set_xla_metadata

from qnn_jax.training import _compile, per_sample
from qnn_jax.training.fleet import Fleet, Lane, Net, init, rates


def kernels(program):
  """The calls that we ask XLA to compile as one kernel each.

  XLA makes such calls of its own too, of the smallest loops, and newer releases of larger ones; it
  may inline those.
  """
  lines = [line for line in program.compile().as_text().splitlines() if " call(" in line]
  tags = [f'{name}="{value}"' for name, value in _compile._ONE_KERNEL.items()]
  return [line for line in lines if all(tag in line for tag in tags)]


@pytest.fixture(autouse=True)
def only_cpu():
  if jax.default_backend() != "cpu":
    pytest.skip("one kernel is a matter of XLA's CPU back end")


@_compile.one_kernel
def loop(a, x):
  """A recurrence with a reduction, as the tails have them."""
  step = lambda a, row: (a + 0.1 * jnp.tanh((a * row).sum(0)), a.sum())
  return jax.lax.scan(step, a, x)


def arguments():
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.random((64, 80)), "float32"), jnp.asarray(rng.random((5, 80)), "float32")


def test_a_loop_is_one_kernel_within_our_programs_alone():
  args = arguments()
  ours = jax.jit(_compile._allow_one_kernel(loop), compiler_options=_compile._accepted("cpu", None))
  assert len(kernels(ours.lower(*args))) == 1
  assert not kernels(jax.jit(loop).lower(*args))
  jax.tree.map(
    lambda one, many: np.testing.assert_allclose(one, many, rtol=1e-5),
    _compile.jit(loop)(*args),
    jax.jit(loop)(*args),
  )


def test_without_our_options_a_kernel_is_not_asked_for(monkeypatch):
  # XLA gives reductions to a library by default, and fails to compile them into one kernel.
  total = lambda x: set_xla_metadata(jax.jit(lambda x: x.sum(0))(x), **_compile._ONE_KERNEL)
  shape = jax.ShapeDtypeStruct((64, 64), "float32")
  with pytest.raises(jax.errors.JaxRuntimeError):
    jax.jit(total).lower(shape).compile()
  monkeypatch.setattr(_compile, "_accepted", lambda backend, level: None)
  assert not _compile._one_kernel_compiles.__wrapped__("cpu")
  assert not _compile._one_kernel_compiles.__wrapped__("gpu")


def test_every_tail_of_a_fleet_is_one_kernel():
  fleet = Fleet(
    (Net("ann", 3), Net("qnn", 3), Net("rpqnn", 3), Net("heavy", 3)), in_features=4, classes=10
  )
  trainer = per_sample.make_trainer(fleet, per_sample.Method())
  x, labels = jnp.ones((5, 4)), jnp.arange(5)
  (chunk,) = per_sample.make_chunks(np.arange(5)[None], per_sample.Method())
  run = jax.jit(
    _compile._allow_one_kernel(trainer.run.__wrapped__),
    compiler_options=_compile._accepted("cpu", None),
  )
  lanes = [Lane(0)]
  state = trainer.start(init(fleet, lanes), rates(fleet, lanes))
  chunk = trainer.prepare(x, chunk)
  assert len(kernels(run.lower(state, x, labels, chunk))) == len(fleet.nets)


def test_draws_are_the_cpus_beside_an_accelerator(monkeypatch):
  draw = lambda key: jax.random.uniform(key, (100,))
  here = _compile.jit(draw, level=0)(jax.random.key(0))
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  beside = _compile.jit(draw, level=0, on_cpu=True)
  there = beside(jax.random.key(0))
  assert _compile._beside() == jax.local_devices(backend="cpu")[0]
  assert list(there.devices()) == [_compile._beside()]
  assert (there == here).all()
  assert beside._cache_size() == 1
  no_cpu = lambda backend: (_ for _ in ()).throw(RuntimeError(f"no backend {backend}"))
  monkeypatch.setattr(jax, "local_devices", no_cpu)
  assert _compile._beside() is None  # then they are the accelerator's
