"""Optimisers by name are optax's own, with decay of matrices, clipping and a rate for quadratic parameters."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import orbax.checkpoint
import pytest
from flax import nnx

from qnn_jax import InputError, losses, models
from qnn_jax.layers import QuadraticParam
from qnn_jax.training import minibatch
from qnn_jax.training.optimizers import matrices, names, optimizer, schedule

REFUSED = [
  *("lbfgs", "contrib.dpsgd", "contrib.momo", "contrib.momo_adam", "contrib.sophia"),
  *("contrib.schedule_free", "contrib.schedule_free_adamw", "contrib.schedule_free_sgd"),
]
NEEDED = {"noisy_sgd": {"key": 0}}
SAID = models.Network("mlp", (3,), head="qnn", hidden_kind="rpqnn", activation="tanh")


def make(rngs):
  return models.build(SAID, (2, 2, 1), 3, rngs=rngs)


def filled(kind=nnx.Param):
  """The parameters of the network, all at random: a start has zeros."""
  state, rng = nnx.state(nnx.eval_shape(lambda: make(nnx.Rngs(0))), kind), np.random.default_rng(0)
  return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), state)


def moved(transformation, params, steps=3):
  """The parameters after some steps on gradients that are the parameters' sines."""

  @jax.jit
  def run(params):
    state = transformation.init(params)
    for _ in range(steps):
      updates, state = transformation.update(jax.tree.map(jnp.sin, params), state, params)
      params = optax.apply_updates(params, updates)
    return params

  return run(params)


def same(one, other, **tolerances):
  leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  for a, b in leaves:
    np.testing.assert_allclose(a, b, **{"rtol": 1e-6, "atol": 1e-7} | tolerances)


@pytest.mark.fast
def test_all_of_optax_is_there():
  """Every function of optax and optax.contrib that makes an optimiser at a rate, but those refused."""
  assert {"adamw", "sgd", "lion", "rmsprop", "lamb", "adafactor", "nadam"} <= {*names()}
  assert "contrib.muon" in names() and not {*names()} & {*REFUSED}
  for module, prefix in ((optax, ""), (optax.contrib, "contrib.")):
    for name, function in inspect.getmembers(module, inspect.isfunction):
      rated = "learning_rate" in inspect.signature(function).parameters
      if rated and not name.startswith(("_", "scale_by_")):
        assert prefix + name in (*names(), *REFUSED)


@pytest.mark.filterwarnings("ignore:`optimistic_adam` is deprecated")
@pytest.mark.parametrize("name", names())
def test_each_makes_a_step_whose_state_is_a_tree_of_arrays(name):
  made = optimizer(
    name, 0.01, arguments=NEEDED.get(name, {}), weight_decay=0.1, quadratic_learning_rate=0.001, clip=1.0
  )  # fmt: skip
  params = filled()
  state = made.init(params)
  assert all(isinstance(leaf, jax.Array | np.ndarray) for leaf in jax.tree.leaves(state))
  updates, after = jax.eval_shape(made.update, params, state, params)
  assert jax.tree.structure(after) == jax.tree.structure(state)
  assert jax.tree.structure(updates) == jax.tree.structure(params)
  shapes = lambda tree: [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]
  assert shapes(after) == shapes(state) and shapes(updates) == shapes(params)


RATE = optax.cosine_decay_schedule(0.1, 5)
CASES = {
  "sgd": (("sgd", 0.1), {}, lambda: optax.sgd(0.1)),
  "nesterov": (
    ("sgd", RATE),
    {"arguments": {"momentum": 0.9, "nesterov": True}},
    lambda: optax.sgd(RATE, momentum=0.9, nesterov=True),
  ),
  "adam": (("adam", 0.1), {"arguments": {"b1": 0.8}}, lambda: optax.adam(0.1, b1=0.8)),
  "muon": (("contrib.muon", 0.1), {}, lambda: optax.contrib.muon(0.1)),
  "adamw": (
    ("adamw", 0.1), {"weight_decay": 0.3}, lambda: optax.adamw(0.1, weight_decay=0.3, mask=matrices),
  ),
  "its own decay": (("adamw", 0.1), {}, lambda: optax.adamw(0.1, mask=matrices)),
  "no decay": (("adamw", 0.1), {"weight_decay": 0.0}, lambda: optax.adam(0.1)),
  "lars": (
    ("lars", 0.1),
    {"weight_decay": 0.3},
    lambda: optax.lars(0.1, weight_decay=0.3, weight_decay_mask=matrices),
  ),
  "clipped": (
    ("sgd", 0.1), {"clip": 0.5}, lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1)),
  ),
}  # fmt: skip


@pytest.mark.parametrize("said, options, plain", CASES.values(), ids=CASES.keys())
def test_it_is_the_one_of_optax(said, options, plain):
  params = filled()
  same(moved(optimizer(*said, **options), params), moved(plain(), params))


@pytest.mark.parametrize("rate", [0.1, RATE], ids=["constant", "schedule"])
def test_decay_that_an_optimiser_lacks_is_that_of_adamw(rate):
  """adam with it is optax's adamw; sgd with it takes the rate times the decay off, step by step."""
  params = filled()
  same(
    moved(optimizer("adam", rate, weight_decay=0.3), params),
    moved(optax.adamw(rate, weight_decay=0.3, mask=matrices), params),
    rtol=1e-5,
  )
  by_hand, of = nnx.to_pure_dict(params), rate if callable(rate) else lambda _: rate
  for step in range(3):
    decay = lambda p, step=step: of(step) * 0.3 * p if p.ndim > 1 else 0
    by_hand = jax.tree.map(
      lambda p, step=step, decay=decay: p - of(step) * jnp.sin(p) - decay(p), by_hand
    )
  same(moved(optimizer("sgd", rate, weight_decay=0.3), params), by_hand, rtol=1e-5)


@pytest.mark.parametrize(
  "name", ["sgd", "adamw", "lamb", "contrib.muon", "adafactor", "contrib.adopt"]
)
def test_decay_leaves_biases_alone(name):
  params = filled()
  without, decayed = (
    nnx.to_flat_state(moved(optimizer(name, 0.1, weight_decay=of), params)) for of in (0.0, 0.3)
  )
  for (path, one), (_, other) in zip(without, decayed, strict=True):
    assert bool(jnp.allclose(one[...], other[...])) == (path[-1] in ("bias", "c")), path


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_the_own_rate_is_of_the_quadratic_parameters_alone(clip):
  arguments = {"momentum": 0.9}
  kinds = (QuadraticParam, nnx.Not(QuadraticParam))
  own = moved(
    optimizer("sgd", 0.1, arguments=arguments, quadratic_learning_rate=0.01, clip=clip), filled()
  )

  def alone(rate):
    """All parameters at one rate; clipping is by the length of the whole gradient, whatever the rate."""
    return moved(optimizer("sgd", rate, arguments=arguments, clip=clip), filled())

  slow, fast = alone(0.01), alone(0.1)
  first = lambda tree, kind: nnx.filter_state(tree, kind)
  if not clip:  # else the gradients of the others come in by the length
    same(first(own, kinds[0]), first(slow, kinds[0]))
    same(first(own, kinds[1]), first(fast, kinds[1]))
  one = moved(optimizer("sgd", 0.1, quadratic_learning_rate=0.01, clip=clip), filled(), steps=1)
  same(first(one, kinds[0]), first(moved(optimizer("sgd", 0.01, clip=clip), filled(), 1), kinds[0]))
  same(first(one, kinds[1]), first(moved(optimizer("sgd", 0.1, clip=clip), filled(), 1), kinds[1]))
  still = moved(optimizer("sgd", 0.1, quadratic_learning_rate=0.0), filled())
  same(first(still, kinds[0]), first(filled(), kinds[0]))


def test_the_trainer_and_nnx_take_it_and_orbax_keeps_its_state(tmp_path):
  """Two epochs are one, a checkpoint of all that is in the state, and one more."""
  rate = schedule("cosine", 0.01, 8, warmup_steps=2)
  made = optimizer("adamw", rate, weight_decay=0.1, quadratic_learning_rate=rate, clip=1.0)
  trainer = minibatch.make_trainer(make, losses.get("softmax"), made, batch_size=4)
  x = jax.random.normal(jax.random.key(1), (8, 2, 2, 1))
  run = jax.jit(lambda state: trainer.run(state, x, jnp.arange(8) % 3, 1)[0])
  once = run(trainer.start(jax.random.key(0)))
  with orbax.checkpoint.StandardCheckpointer() as checkpointer:
    checkpointer.save(tmp_path / "state", once)
    abstract = jax.tree.map(as_shape, once)
    again = checkpointer.restore(tmp_path / "state", abstract)
  assert jax.tree.structure(again) == jax.tree.structure(once)
  same(run(again), run(once), rtol=0, atol=0)
  model = make(nnx.Rngs(0))
  before, of_nnx = nnx.clone(nnx.state(model)), nnx.Optimizer(model, made, wrt=nnx.Param)
  for _ in range(2):  # the rate of the first step is 0
    of_nnx.update(model, jax.tree.map(jnp.ones_like, nnx.state(model)))
  assert all((a != b).any() for a, b in zip(*map(jax.tree.leaves, (before, nnx.state(model)))))


def as_shape(leaf):
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


MISTAKES = {
  "near": (("adm",), {}, "^there is no optimiser 'adm'; did you mean adam or "),
  "contrib": (("muon",), {}, r"^there is no optimiser 'muon'; did you mean contrib.muon\?$"),
  "far": (("xyz",), {}, "^there is no optimiser 'xyz'; choose one of adabelief, .*, yogi$"),
  "no text": ((3,), {}, "^there is no optimiser '3'; "),
  "helper": (("scale_by_learning_rate",), {}, "^there is no optimiser 'scale_by_learning_rate'; "),
  "argument": (
    ("sgd",),
    {"arguments": {"b1": 0.9}},
    "^the optimiser 'sgd' has no argument 'b1'; it takes momentum, nesterov, accumulator_dtype$",
  ),
  "rate": (
    ("sgd",),
    {"arguments": {"learning_rate": 1.0}},
    "^the optimiser 'sgd' takes its learning_rate from the field of that name; remove it from the arguments$",
  ),
  "value": (
    ("adam",),
    {"arguments": {"b1": "x"}},
    "^the optimiser 'adam' cannot be used with {'b1': 'x'}: ",
  ),
  "twice": (
    ("adamw",),
    {"arguments": {"weight_decay": 0.1}, "weight_decay": 0.2},
    "^weight_decay is given twice, as 0.2 and as 0.1 in the arguments of adamw: give it once$",
  ),
  "decay": (("sgd",), {"weight_decay": -1.0}, "^weight_decay must be a number of at least 0, got -1"),
  "clip": (("sgd",), {"clip": float("nan")}, "^clip must be a number of at least 0, got nan$"),
  "own": (
    ("sgd",),
    {"quadratic_learning_rate": -0.1},
    "^quadratic_learning_rate must be a number of at least 0, got -0.1$",
  ),
}  # fmt: skip


@pytest.mark.fast
@pytest.mark.parametrize("said, options, told", MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_in_one_sentence(said, options, told):
  with pytest.raises(InputError, match=told):
    optimizer(*said, 0.1, **options)


@pytest.mark.fast
@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_more_than_gradients_is_refused(name):
  with pytest.raises(
    InputError, match=f"^the optimiser '{name}' needs .* by its name; choose anot"
  ):
    optimizer(name, 0.1)


def test_a_rate_that_a_rate_must_not_be():
  with pytest.raises(
    InputError, match="^learning_rate must be a number of at least 0, got 'fast'$"
  ):
    optimizer("sgd", "fast")
  with pytest.raises(InputError, match="^the optimiser 'rprop' cannot be used with its defaults: "):
    optimizer("rprop", RATE)
