"""Every program of a training, and every layer, as the compilers of GPUs and TPUs are given it.

No accelerator and nothing of its software is needed: lowering ends where XLA's own compiler begins. What
that one makes of the programs is told by scripts/compile_for.py.
"""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from in_the_place import OURS, SIZES, inputs, named, random

from qnn_jax.training import per_sample
from qnn_jax.training._trainer import precisely
from qnn_jax.training.evaluate import evaluate
from qnn_jax.training.fleet import Fleet, Lane, Net, init
from qnn_jax.training.per_sample import Method

# What `lower` calls a target, what `make_trainer` does, and the call of a Pallas kernel there.
PLATFORMS = {
  "cuda": ("gpu", "__gpu$xla.gpu.triton"),
  "rocm": ("gpu", "__gpu$xla.gpu.triton"),
  "tpu": ("tpu", "tpu_custom_call"),
}
# Four kinds of head, two of them with two nets, one net whose head has no kernel.
HEADS = ("ann", "qnn", "rpqnn", "heavy")
FLEET = Fleet(
  (*(Net(head, 3) for head in HEADS), Net("qnn", 5), Net("ann", 9), Net("qnn", (4, 3))),
  in_features=12,
  classes=5,
)
LANES, SIZE, IMAGES = 3, 40, 90
METHODS = {
  "auto": Method("block", block=20, sub_block=5),
  "fused": Method("block", block=20, sub_block=5, tails="fused"),
  "modules": Method("block", block=20, sub_block=5, tails="modules"),
  "scan": Method("scan"),
}
KERNELS = {"auto": len(HEADS), "fused": 0, "modules": 0, "scan": 0}  # a block

every_platform = pytest.mark.parametrize("platform", PLATFORMS)
every_method = pytest.mark.parametrize("method", METHODS)
shaped = jax.ShapeDtypeStruct


def lowered(program, platform):
  return program.lower(lowering_platforms=(platform,)).as_text()


@functools.cache
def traced(fleet, method, backend):
  """The programs of a training, before it is said whether a GPU is CUDA's or ROCm's."""
  trainer = per_sample.make_trainer(fleet, method, platform=backend)
  # The functions as they were before they were compiled for the CPU that is here.
  start, prepare, run, finish = (getattr(f, "__wrapped__", f) for f in trainer[:4])
  params = jax.eval_shape(lambda: init(fleet, [Lane(0)] * LANES))
  rates = shaped((LANES,), "float32")
  images, labels = shaped((IMAGES, 12), "uint8"), shaped((IMAGES,), "int32")
  chunk, *_ = per_sample.make_chunks(np.zeros((LANES, SIZE), np.int32), method)
  state = jax.eval_shape(start, params, rates)
  ready = jax.eval_shape(prepare, images, chunk)
  test = precisely(functools.partial(evaluate, fleet), backend, method.precision)
  return {
    "start": jax.jit(start).trace(params, rates),
    "prepare": jax.jit(prepare).trace(images, chunk),
    "run": jax.jit(run).trace(state, images, labels, ready),
    "finish": jax.jit(finish).trace(state),
    "evaluate": jax.jit(test).trace(params, images, labels),
  }


@functools.cache
def programs(method, platform, fleet=FLEET):
  """The text of each program of a training."""
  found = traced(fleet, method, PLATFORMS[platform][0])
  return {name: lowered(program, platform) for name, program in found.items()}


@every_platform
@every_method
def test_every_program_of_a_training_is_lowered(method, platform):
  _, call = PLATFORMS[platform]
  found = programs(METHODS[method], platform)
  kernels = {name: text.count(call) for name, text in found.items()}
  assert kernels == dict.fromkeys(found, 0) | {"run": KERNELS[method]}


def products(text):
  return [line for line in text.splitlines() if "stablehlo.dot_general" in line]


@every_platform
@every_method
def test_products_keep_all_of_float32_unless_the_config_says_otherwise(method, platform):
  lines = [line for text in programs(METHODS[method], platform).values() for line in products(text)]
  assert len(lines) > 20
  assert all("precision = [HIGHEST, HIGHEST]" in line for line in lines)


def test_a_traded_precision_is_in_every_product():
  for precision, said in (("high", "[HIGH, HIGH]"), ("default", "[DEFAULT, DEFAULT]")):
    method = dataclasses.replace(METHODS["auto"], precision=precision)
    lines = [line for text in programs(method, "cuda").values() for line in products(text)]
    assert len(lines) > 20 and all(f"precision = {said}" in line for line in lines)


@every_platform
@pytest.mark.parametrize(
  ("hidden", "classes", "block"), ((1, 2, 1), (30, 10, 60), (33, 17, 64), (50, 3, 7))
)
def test_kernels_of_any_width_classes_and_block(hidden, classes, block, platform):
  fleet = Fleet(tuple(Net(head, hidden) for head in HEADS), in_features=12, classes=classes)
  method = Method("block", block=block, sub_block=1)
  backend, call = PLATFORMS[platform]
  text = lowered(traced(fleet, method, backend)["run"], platform)
  # On a GPU the Q of 33 neurons and 17 classes, padded to 64 and 32, is more than one program holds.
  refused = backend == "gpu" and hidden == 33
  assert text.count(call) == len(HEADS) - refused


def test_what_is_too_much_for_a_gpu_takes_the_other_form():
  fleet = Fleet((Net("qnn", 30), Net("qnn", 64), Net("qnn", 65), Net("ann", 300)), 784, 10)
  takes = lambda block: [
    tail is None for tail in per_sample.make_tails(fleet, Method(block=block), "gpu", tried=False)
  ]
  assert takes(60) == [True, True, False, True]
  assert not any(takes(60000))  # eta Delta alone would be 8 MB


@pytest.mark.parametrize(("hidden", "warps"), ((15, 8), (30, 8), (50, 16)))
def test_wide_nets_have_more_warps(hidden, warps):
  fleet = Fleet((Net("qnn", hidden),), in_features=12, classes=10)
  text = lowered(traced(fleet, METHODS["auto"], "gpu")["run"], "cuda")
  assert re.findall(r"num_warps = (\d+)", text) == [str(warps)]


@pytest.mark.parametrize(
  ("platform", "dtype", "kernels"),
  (("cuda", "float32", 4), ("cuda", "float64", 4), ("tpu", "float32", 4), ("tpu", "float64", 0)),
)
def test_64_bits_take_no_kernel_away_but_those_that_a_tpu_has_not(platform, dtype, kernels):
  fleet = Fleet(tuple(Net(head, 3) for head in HEADS), in_features=12, classes=5, dtype=dtype)
  method = Method("block", block=20, sub_block=4)  # traced here alone: types are the trace's
  with jax.enable_x64(True):
    text = programs(method, platform, fleet)["run"]
  assert text.count(PLATFORMS[platform][1]) == kernels


@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
@pytest.mark.parametrize("layer", OURS, ids=named)
def test_every_layer_is_lowered_with_its_gradient(layer, dtype):
  for n, m in SIZES:
    x, model = inputs(5, n=n, dtype=jnp.dtype(dtype)), random(layer, n, m, param_dtype=dtype)
    loss = lambda model, x: (model(x) ** 2).astype("float32").sum()
    both = jax.jit(nnx.value_and_grad(loss, argnums=(0, 1))).trace(model, x)
    assert all("stablehlo.dot_general" in lowered(both, platform) for platform in PLATFORMS)


@pytest.mark.parametrize("platform", ("cuda", "tpu"))
def test_a_training_step_is_exported_once_its_kernel_is_allowed(platform):
  """`jax.export` holds a Triton call for unsafe, and takes it where the check is named as disabled."""
  fleet = Fleet((Net("qnn", 3),), in_features=12, classes=5)
  backend, call = PLATFORMS[platform]
  trainer = per_sample.make_trainer(fleet, METHODS["auto"], platform=backend)
  params = jax.eval_shape(lambda: init(fleet, [Lane(0)] * LANES))
  rates = shaped((LANES,), "float32")
  chunk, *_ = per_sample.make_chunks(np.zeros((LANES, SIZE), np.int32), METHODS["auto"])
  images, labels = shaped((IMAGES, 12), "float32"), shaped((IMAGES,), "int32")
  state = jax.eval_shape(trainer.start.__wrapped__, params, rates)
  ready = jax.eval_shape(trainer.prepare.__wrapped__, images, chunk)
  flat, tree = jax.tree.flatten((state, images, labels, ready))
  step = jax.jit(
    lambda *flat: jax.tree.leaves(trainer.run.__wrapped__(*jax.tree.unflatten(tree, flat)))
  )
  allowed = [jax.export.DisabledSafetyCheck.custom_call(call)] if platform == "cuda" else []
  if allowed:
    with pytest.raises(ValueError, match="custom call"):
      jax.export.export(step, platforms=(platform,))(*flat)
  exported = jax.export.export(step, platforms=(platform,), disabled_checks=allowed)(*flat)
  assert call in exported.mlir_module()
