"""The fast tail: Algorithms 1 and 2 after a sigmoid hidden layer, all lanes of a net in one scan.

It writes out the equations of the heads ann, qnn, rpqnn and heavy once more. Tests compare it with the
slower `_tails.module_tail`, and that with the plain scan.

Every head is one affine map, and exact block SGD does to it what it does to the first layer:

    ann    z = W a + b                      qnn    z = W a + b + a^T Q a       (24)
    rpqnn  z = v1 * v2, [v1 v2] = [W U] a + [b c]                              (52)
    heavy  z = [W H] [a a*a] + b

Let a sub-block begin with W0, b0, Q0, let r be the map's inputs (a or [a a*a]), and e_s the map's delta
at sample s. Then sample t sees, by (28), (31) and (37)

    W_t r_t + b_t       = W0 r_t + b0    - eta sum_{s<t} e_s (r_s.r_t + 1)
    a_t^T Q_t a_t       = a_t^T Q0 a_t   - eta sum_{s<t} e_s (2 (a_s.a_t)^2 - (a_s*a_s).(a_t*a_t))
    W_t^T e_t           = W0^T e_t       - eta sum_{s<t} (e_s.e_t) r_s
    sum_k e_tk Q_tk a_t = sum_k e_tk Q0_k a_t
                                         - eta sum_{s<t} (e_s.e_t) (2 (a_s.a_t) a_s - a_s*a_s*a_t)

So the parameters are read once per step and written once per sub-block. Q is multiplied by a once for
both passes, as the paper says of V (47).

Layout, for XLA's CPU loops: the last axis holds the lanes, in whole vector registers. Such loops
are fast for sums of plain products and ten times slower for nearly all else. Hence sums are computed
on their own (`alone`), outer products occur only within sums, and each net has one scan, compiled as
one kernel.
"""

import jax
import jax.numpy as jnp

from qnn_jax import ops
from qnn_jax.training import _compile
from qnn_jax.training._tails import Tail, from_lanes, to_lanes
from qnn_jax.training.fleet import Net

HEADS = ("ann", "qnn", "rpqnn", "heavy")


def fits(net: Net) -> bool:
  """Whether the fast tail can take this net: one sigmoid hidden layer and a known head."""
  return isinstance(net.hidden, int) and net.hidden_kind == "ann" and net.head in HEADS


def fused_tail(net: Net) -> Tail:
  """The tail of a net that `fits`."""
  head, h = net.head, net.hidden

  def start(params):
    layer = params["layers"][1]
    w, b = layer["kernel"], layer["bias"]
    if head == "rpqnn":
      w, b = jnp.concatenate([w, layer["u"]], -1), jnp.concatenate([b, layer["c"]], -1)
    elif head == "heavy":
      w = jnp.concatenate([w, layer["heavy_kernel"]], 1)
    state = {
      "w": to_lanes(w.swapaxes(1, 2)),
      "b": to_lanes(b),
    }  # [outputs, inputs, L], [outputs, L]
    if head == "qnn":
      state["q"] = to_lanes(jax.vmap(ops.unpack)(layer["q"]))  # [C, h, h, L]
    return state

  def finish(state, lanes):
    w, b = from_lanes(state["w"], lanes).swapaxes(1, 2), from_lanes(state["b"], lanes)
    if head == "rpqnn":
      (w, u), (b, c) = jnp.split(w, 2, -1), jnp.split(b, 2, -1)
      return {"layers": {1: {"kernel": w, "bias": b, "u": u, "c": c}}}
    if head == "heavy":
      kernel, heavy_kernel = jnp.split(w, 2, 1)
      return {"layers": {1: {"kernel": kernel, "bias": b, "heavy_kernel": heavy_kernel}}}
    layer = {"kernel": w, "bias": b}
    if head == "qnn":
      q = from_lanes(state["q"], lanes)
      # The mean, because rounding makes the halves differ.
      layer["q"] = jax.vmap(ops.pack)((q + q.swapaxes(-1, -2)) / 2)
    return {"layers": {1: layer}}

  def run(state, eta, z, g, y, valid):
    b = len(z)

    def step(past, sample):
      t, z, g, y, valid = sample
      sums = []

      def alone(total):
        # A sum with a second use, here the carry, is not fused into the loops that use it, which
        # would compute it again for each element.
        sums.append(total)
        return total

      a = jax.nn.sigmoid(z - eta * alone((g[:, None] * past["delta"]).sum(0)))  # [h, L]
      square = a * a
      r = jnp.concatenate([a, square]) if head == "heavy" else a
      overlap = alone((past["r"] * r).sum(1))  # [b, L], r_s.r_t
      kernel = overlap + 1
      if head == "qnn":
        kernel += 2 * overlap**2 - alone((past["square"] * square).sum(1))
      outputs = alone((state["w"] * r).sum(1)) + state["b"]
      outputs -= eta * alone((past["e"] * kernel[:, None]).sum(0))
      if head == "qnn":
        v = alone((state["q"] * a).sum(2))  # [C, h, L], V = A Q0 of (44)
        outputs += alone((v * a).sum(1))  # (24)

      if head == "rpqnn":
        v1, v2 = jnp.split(outputs, 2)
        last = valid * (jax.nn.sigmoid(v1 * v2) - y)  # (52), (50)
        e = jnp.concatenate([last * v2, last * v1])  # (56) and (59), (57) and (60)
      else:
        e = valid * (jax.nn.sigmoid(outputs) - y)  # (50)

      overlap_e = alone((past["e"] * e).sum(1))  # [b, L], e_s.e_t
      back = alone((state["w"] * e[:, None]).sum(0))
      back -= eta * alone((past["r"] * overlap_e[:, None]).sum(0))
      if head == "qnn":  # (47)
        back += 2 * alone((v * e[:, None]).sum(0))
        back -= 4 * eta * alone((past["r"] * (overlap_e * overlap)[:, None]).sum(0))
        back += 2 * eta * a * alone((past["square"] * overlap_e[:, None]).sum(0))
      elif head == "heavy":
        back = back[:h] + 2 * a * back[h:]  # W + 2 X H of the notes Heavy Layers

      new = {"delta": back * a * (1 - a), "r": r, "e": e}  # g' of (41)
      if head == "qnn":
        new["square"] = square
      put = jax.lax.dynamic_update_index_in_dim
      return {k: put(past[k], row, t, 0) for k, row in new.items()}, sums

    outputs, inputs, lanes = state["w"].shape
    sizes = {"delta": h, "r": inputs, "e": outputs} | ({"square": h} if head == "qnn" else {})
    past = {k: jnp.zeros((b, size, lanes), z.dtype) for k, size in sizes.items()}
    past = _scan_with_sums(step, past, (jnp.arange(b), z, g, y, valid))

    r, e = past["r"], past["e"]
    state = state | {
      "w": state["w"] - eta * (e[:, :, None] * r[:, None]).sum(0),  # (31)
      "b": state["b"] - eta * e.sum(0),  # (28)
    }
    if head == "qnn":
      outer = e[:, :, None] * r[:, None]  # [b, C, h, L]
      m_a = 2 - jnp.eye(h, dtype=z.dtype)[:, :, None]  # M(a) of (35) is a a^T, this many times
      state["q"] -= eta * m_a * (outer[:, :, :, None] * r[:, None, None]).sum(0)  # (37)
    return state, past["delta"]

  return Tail(start, _compile.one_kernel(run), finish)


def _scan_with_sums(step, carry, samples):
  """`lax.scan` of step(carry, sample) -> (carry, sums); the sums are part of the carry, but nothing reads them."""
  first = jax.tree.map(lambda x: x[0], samples)
  sums = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(step, carry, first)[1])
  return jax.lax.scan(lambda c, sample: (step(c[0], sample), None), (carry, sums), samples)[0][0]
