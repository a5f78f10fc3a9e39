"""Time and memory of the layers on batches, compared with einsum autodiff in JAX and with PyTorch.

  python scripts/bench_layers.py [--json] [--repeats=15] [--cases=128x784x10,...] [--[no]torch]

A case is BATCHxINxOUT. Our layers and the alternatives run in one process. They take turns, REPEATS times, each time
in a different order, and medians are compared. `einsum` is the fastest of several natural expressions by autodiff,
each with the storage of Q that suits it: two affine maps for the reduced layer, two products for Heavy, the sum of
squares for low rank (lowrank4 has rank 4). If a full Q exceeds 1 GiB, the alternatives are left out, because they
need several times that memory. 'value+grad' computes z, and from a given cotangent of z the gradients of x and of
every parameter; 'forward' computes z only. `ratio` is the einsum's time divided by ours. Temporary memory is what
XLA allocates in addition to arguments and results. 'compile s' is the time to compile the program once; for einsum,
that of the fastest expression. `torch.nn.Bilinear(x, x)` keeps a full Q and, like `torch.einsum`, does not use its
symmetry. torch comes with the extra 'bench'; without it, its columns stay empty. On a GPU give larger cases:
--cases=4096x784x10,65536x64x64.
"""

import importlib.util
import re

import _bench
import _timing
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from qnn_jax import ops

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object per line instead of a table.")
_TORCH = flags.DEFINE_bool("torch", True, "Also time PyTorch, if it is installed.")
_REPEATS = flags.DEFINE_integer("repeats", 15, "How often each form is timed.", lower_bound=1)
_CASES = flags.DEFINE_list(
  "cases",
  ["128x784x10", "256x256x10", "256x64x64", "512x512x64", "512x1024x128"],
  "BATCHxINxOUT.",
)
flags.register_validator(
  _CASES,
  lambda cases: cases and all(re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", case) for case in cases),
  "give BATCHxINxOUT, as 128x784x10",
)

HEADINGS = {
  "layer": "layer",
  "what": "what",
  "case": "batch, n -> m",
  "parameters": "parameters",
  "ours_ms": "ours ms",
  "einsum_ms": "einsum ms",
  "ratio": "ratio",
  "ours_temp_mb": "ours MB",
  "einsum_temp_mb": "einsum MB",
  "ours_compile_s": "ours compile s",
  "einsum_compile_s": "einsum compile s",
  "bilinear_ms": "Bilinear ms",
  "torch_einsum_ms": "torch einsum ms",
}
OURS = {
  "quadratic": ops.quadratic,
  "recomputed": lambda *args: ops.quadratic(*args, cache=False),
  "reduced": ops.reduced_quadratic,
  "heavy": ops.heavy,
  "lowrank4": ops.low_rank_quadratic,
  "lowrank16": ops.low_rank_quadratic,
}
_FULL_Q = 2**30  # bytes
_LAYERS = flags.DEFINE_list("layers", list(OURS), "Layers to time.")
flags.register_validator(
  _LAYERS, lambda layers: layers and set(layers) <= set(OURS), f"choose among {', '.join(OURS)}"
)


def arguments(layer, batch, n, m):
  """x and the layer's parameters in this package's storage, float32."""
  rng = np.random.default_rng(0)
  draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
  x, w, b = draw(batch, n), draw(n, m), draw(m)
  if layer == "reduced":
    return x, w, b, draw(n, m), draw(m)
  if layer.startswith("lowrank"):
    rank = int(layer.removeprefix("lowrank"))
    return x, draw(n, rank, m), draw(rank, m), w, b
  return x, draw(n, m) if layer == "heavy" else draw(ops.packed_size(n), m), w, b


def einsums(layer, args):
  """name -> (function, its arguments): the alternatives in JAX."""
  if layer == "reduced":
    return {"affine * affine": (lambda x, w, b, u, c: (x @ w + b) * (x @ u + c), args)}
  if layer == "heavy":
    return {"two products": (lambda x, h, w, b: (x * x) @ h + x @ w + b, args)}
  if layer.startswith("lowrank"):
    flat = lambda x, v: (x @ v.reshape(len(v), -1)).reshape(len(x), *v.shape[1:])
    return {
      "sum of squares": (
        lambda x, v, s, w, b: (s * jnp.einsum("bi,irm->brm", x, v) ** 2).sum(1) + x @ w + b, args
      ),
      "einsum of squares": (
        lambda x, v, s, w, b: jnp.einsum("rm,brm->bm", s, flat(x, v) ** 2) + x @ w + b, args
      ),
    }  # fmt: skip
  x, packed, w, b = args
  if 4 * x.shape[1] ** 2 * packed.shape[1] > _FULL_Q:
    return {}
  full = ops.unpack(packed)
  spellings = {
    "bi,mij,bj": (full, lambda x, q: jnp.einsum("bi,mij,bj->bm", x, q, x)),
    "mij in two": (
      full,
      lambda x, q: jnp.einsum("bmj,bj->bm", jnp.einsum("bi,mij->bmj", x, q), x),
    ),
    "ijm in two": (
      full.transpose(1, 2, 0),
      lambda x, q: jnp.einsum("bjm,bj->bm", jnp.einsum("bi,ijm->bjm", x, q), x),
    ),
    "imj in two": (
      full.swapaxes(0, 1),
      lambda x, q: jnp.einsum("bmj,bj->bm", jnp.einsum("bi,imj->bmj", x, q), x),
    ),
    "packed": (packed, lambda x, q: jnp.einsum("bi,mij,bj->bm", x, ops.unpack(q), x)),
  }
  if x.size * x.shape[1] < 1e7:  # makes [B, n, n], too slow for larger n
    outer = lambda x, q: jnp.einsum("bij,ijm->bm", x[:, :, None] * x[:, None], q)
    spellings["outer products"] = full.transpose(1, 2, 0), outer
  return {
    name: (lambda x, q, w, b, form=form: form(x, q) + x @ w + b, (x, q, w, b))
    for name, (q, form) in spellings.items()
  }


def torch_forms(layer, args, cotangent, gradient):
  """name -> a call that waits for its result: the alternatives in PyTorch; empty if it is not installed."""
  try:
    import torch
  except ImportError:
    return {}
  device = "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"
  tensor = lambda a: torch.tensor(np.asarray(a), device=device, requires_grad=True)
  x, first, *rest = args
  quadratic = layer in ("quadratic", "recomputed")
  params = [tensor(a) for a in (x, ops.unpack(first) if quadratic else first, *rest)]
  delta = tensor(cotangent).detach()
  forms = {
    "reduced": lambda x, w, b, u, c: (x @ w + b) * (x @ u + c),
    "heavy": lambda x, h, w, b: (x * x) @ h + x @ w + b,
  }
  if layer.startswith("lowrank"):
    forms[layer] = lambda x, v, s, w, b: (
      (s * torch.einsum("bi,irm->brm", x, v) ** 2).sum(1) + x @ w + b
    )
  einsum = lambda x, q, w, b: torch.einsum("bi,mij,bj->bm", x, q, x) + x @ w + b
  found = {"torch_einsum": forms.get(layer, einsum)}
  if quadratic:
    # torch.nn.Bilinear's forward, with the layer's own parameters.
    found["bilinear"] = lambda x, q, w, b: torch.nn.functional.bilinear(x, x, q, b) + x @ w

  def call(form):
    def run():
      with torch.set_grad_enabled(gradient):
        z = form(*params)
      if gradient:
        torch.autograd.grad(z, params, delta)
      if device == "cuda":
        torch.cuda.synchronize()

    return run

  return {name: call(form) for name, form in found.items()}


def measure(layer, batch, n, m, gradient, repeats, with_torch):
  """One row of the table."""
  args = arguments(layer, batch, n, m)
  cotangent = jnp.ones((batch, m), jnp.float32)
  forms = {"ours": _timing.jax_form(OURS[layer], args, cotangent, gradient)}
  peers = einsums(layer, args)
  for name, (op, its) in peers.items():
    forms[name] = _timing.jax_form(op, its, cotangent, gradient)
  runs = {name: run for name, (run, *_) in forms.items()}
  found = _timing.medians(runs, repeats)
  if with_torch:
    # Timed separately, because PyTorch's threads keep spinning for a while after their work is done.
    found |= _timing.medians(torch_forms(layer, args, cotangent, gradient), repeats)
  best = min(peers, key=found.get, default=None)
  best_temp, best_compile = forms[best][1:] if best else (None, None)
  rounded = lambda value: None if value is None else round(value, 3)
  return {
    "layer": layer,
    "what": "value+grad" if gradient else "forward",
    "case": f"{batch}, {n} -> {m}",
    "batch": batch,
    "n": n,
    "m": m,
    "parameters": sum(a.size for a in args[1:]),
    "ours_ms": rounded(found["ours"]),
    "einsum_ms": rounded(found.get(best)),
    "ratio": round(found[best] / found["ours"], 2) if best else None,
    "ours_temp_mb": rounded(forms["ours"][1]),
    "einsum_temp_mb": rounded(best_temp),
    "ours_compile_s": round(forms["ours"][2], 2),
    "einsum_compile_s": rounded(best_compile),
    "best_einsum": best,
    "bilinear_ms": rounded(found.get("bilinear")),
    "torch_einsum_ms": rounded(found.get("torch_einsum")),
  }


def rows():
  """Prints rows for each case: the gradient and the forward pass of each layer."""
  for case in _CASES.value:
    batch, n, m = map(int, case.split("x"))
    for layer in _LAYERS.value:
      for gradient in (True, False):
        yield measure(layer, batch, n, m, gradient, _REPEATS.value, _TORCH.value)


def main():
  if _TORCH.value and importlib.util.find_spec("torch") is None:
    _bench.tell("torch is not installed (extra 'bench'): its columns stay empty")
  _bench.show(rows(), HEADINGS, _JSON.value)


if __name__ == "__main__":
  _bench.run(main)
