"""Time and memory of the convolutions, value and gradient, compared with nnx.Conv and with autodiff.

  python scripts/bench_convs.py [--json] [--repeats=15] [--cases=32x32x16x32,...] [--window=3]

A case is BATCHxSIDExCHANNELSxNEURONS, with square images. `autodiff` is the expression that a user would write,
differentiated by JAX: convolutions for the affine, reduced, Heavy and low-rank layers; patches and the faster of two
einsums with full matrices for the full layer. The forms of a layer and nnx.Conv run in one process. They take turns,
REPEATS times, each time in a different order, and medians are compared. `ratio` is the time of autodiff divided by
ours, like the ratio in bench_layers.py. Temporary memory is what XLA allocates in addition to arguments and results.
"""

import functools
import re

import _bench
import _timing
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from qnn_jax import ops

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object per line instead of a table.")
_REPEATS = flags.DEFINE_integer("repeats", 15, "How often each form is timed.", lower_bound=1)
_WINDOW = flags.DEFINE_integer("window", 3, "Side length of the window.", lower_bound=1)
_CASES = flags.DEFINE_list("cases", ["32x32x16x32"], "BATCHxSIDExCHANNELSxNEURONS.")
flags.register_validator(
  _CASES,
  lambda cases: cases and all(re.fullmatch(r"[1-9]\d*(x[1-9]\d*){3}", case) for case in cases),
  "give BATCHxSIDExCHANNELSxNEURONS, as 32x32x16x32",
)

HEADINGS = {
  "layer": "layer",
  "case": "batch, image -> m",
  "parameters": "parameters",
  "ours_ms": "ours ms",
  "autodiff_ms": "autodiff ms",
  "ratio": "autodiff over ours",
  "over_conv": "ours over nnx.Conv",
  "ours_temp_mb": "ours MB",
  "autodiff_temp_mb": "autodiff MB",
}


def convolution(x, kernel):
  """The call of `nnx.Conv`."""
  strides = (1,) * (x.ndim - 2)
  names = ("NHWC", "HWIO", "NHWC")
  return jax.lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=names)


def affine(x, kernel, bias):
  return convolution(x, kernel) + bias


def heavy(x, heavy_kernel, kernel, bias):
  return convolution(x * x, heavy_kernel) + affine(x, kernel, bias)


def reduced(x, kernel, bias, u, c):
  return affine(x, kernel, bias) * affine(x, u, c)


def low_rank(x, v, s, kernel, bias):
  t = convolution(x, v.reshape(*v.shape[:-2], -1))
  t = t.reshape(*t.shape[:-1], *s.shape)
  return (s * t * t).sum(-2) + affine(x, kernel, bias)


def full(spelling, x, q, kernel, bias):
  """Patches as slices of the padded images, the fastest way to make them."""
  side, (height, width) = kernel.shape[0], x.shape[1:3]
  low, high = (side - 1) // 2, side // 2
  padded = jnp.pad(x, ((0, 0), (low, high), (low, high), (0, 0)))
  places = [(i, j) for i in range(side) for j in range(side)]
  p = jnp.concatenate([padded[:, i : i + height, j : j + width] for i, j in places], -1)
  first, second = spelling
  return jnp.einsum(second, jnp.einsum(first, p, q), p) + affine(x, kernel, bias)


SPELLINGS = {
  "mij": ("abci,mij->abcmj", "abcmj,abcj->abcm"),
  "ijm": ("abci,ijm->abcjm", "abcjm,abcj->abcm"),
}


def forms(batch, side, channels, m):
  """layer -> ((ours, its arguments), name -> (autodiff's, its arguments)), float32."""
  rng = np.random.default_rng(0)
  window, n = (_WINDOW.value,) * 2, _WINDOW.value**2 * channels
  draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
  kernel = lambda *ranks: draw(*window, channels, *ranks, m) / np.sqrt(n)
  x, w, b = draw(batch, side, side, channels), kernel(), draw(m)
  q = draw(ops.packed_size(n), m) / n
  matrices = {"mij": ops.unpack(q), "ijm": ops.unpack(q).transpose(1, 2, 0)}
  alike = lambda ours, theirs, *args: ((ours, args), {"autodiff": (theirs, args)})
  found = {
    "nnx.Conv": alike(affine, affine, x, w, b),
    "heavy": alike(ops.heavy_conv, heavy, x, kernel(), w, b),
    "reduced": alike(ops.reduced_quadratic_conv, reduced, x, w, b, kernel(), draw(m)),
  }
  for rank in (4, 16):
    args = x, kernel(rank), draw(rank, m), w, b
    found[f"low rank {rank}"] = alike(ops.low_rank_quadratic_conv, low_rank, *args)
  found["full"] = (
    (functools.partial(ops.quadratic_conv, kernel_size=window), (x, q, w, b)),
    {
      name: (functools.partial(full, spelling), (x, matrices[name], w, b))
      for name, spelling in SPELLINGS.items()
    },
  )
  return found


def rows():
  """Prints a row for each case and layer."""
  for case in _CASES.value:
    batch, side, channels, m = map(int, case.split("x"))
    delta = jnp.ones((batch, side, side, m), jnp.float32)
    known = forms(batch, side, channels, m)
    for layer, (ours, theirs) in known.items():
      _, args = ours
      together = {"nnx.Conv": known["nnx.Conv"][0], "ours": ours} | theirs
      compiled = {
        name: _timing.jax_form(op, its, delta, gradient=True)
        for name, (op, its) in together.items()
      }
      ms = _timing.medians({name: run for name, (run, *_) in compiled.items()}, _REPEATS.value)
      best = min(theirs, key=ms.get)
      yield {
        "layer": layer,
        "case": f"{batch}, {side} x {side} x {channels} -> {m}",
        "parameters": sum(a.size for a in args[1:]),
        "ours_ms": round(ms["ours"], 3),
        "autodiff_ms": round(ms[best], 3),
        "ratio": round(ms[best] / ms["ours"], 2),
        "over_conv": round(ms["ours"] / ms["nnx.Conv"], 2),
        "ours_temp_mb": round(compiled["ours"][1], 1),
        "autodiff_temp_mb": round(compiled[best][1], 1),
      }


def main():
  _bench.show(rows(), HEADINGS, _JSON.value)


if __name__ == "__main__":
  _bench.run(main)
