"""The fast tail: Algorithms 1 and 2 behind a sigmoid hidden layer, many nets and seeds in one scan.

For nets of one hidden size h with head ann, qnn, rpqnn or heavy: the heads' equations written out
once more, in the layout that XLA's CPU loops like. The seeds, net by net, are the last axis ("lanes",
L = nets x S), so that every product and sum of a step is a long vector operation. The slow twin that
tests hold it to is `_tails.module_tail`, and behind it the plain scan.

Every head is made of affine maps of the hidden outputs a, all in one array, [C, h, maps x S]:

    ann    z = W a + b                      qnn    z = W a + b + a^T Q a       (24)
    rpqnn  z = (W a + b) * (U a + c)  (52)  heavy  z = W a + b + H (a*a)

and the qnn's Q is the first layer's trick again. Its update (37), -eta delta_k M(a), has
M(a) = 2 a a^T - diag(a*a), so that inside a sub-block, with F0 the Q at its start less the diagonal
correction d,

    V_t = A Q_t:  V_t[k] = F0[k] a_t - 2 eta sum_{s<t} delta_s[k] (a_s.a_t) a_s + d_t[k] * a_t

needs Q read once a step and written once a sub-block; d_{t+1}[k] = d_t[k] + eta delta_t[k] a_t*a_t.
"""

import jax
import jax.numpy as jnp

from qnn_jax import ops
from qnn_jax.training._tails import Tail
from qnn_jax.training.fleet import Fleet, Net

HEADS = ("ann", "qnn", "rpqnn", "heavy")

# Names of a head's parameters: of the map that every head has, and of the second one that some have.
_FIRST = {head: ("kernel", "bias") for head in HEADS} | {"rpqnn": ("w", "b")}
# The one without a bias comes last, so that the biases are the beginning of the maps.
_SECOND = {"rpqnn": ("u", "c"), "heavy": ("heavy_kernel", None)}


def fits(net: Net) -> bool:
  """Whether the fast tail can take this net: one sigmoid hidden layer and a known head."""
  return isinstance(net.hidden, int) and net.hidden_kind == "ann" and net.head in HEADS


def fused_tail(fleet: Fleet, nets: tuple[Net, ...]) -> Tail:
  """One tail for nets of the same hidden size, with different heads."""
  eta = fleet.learning_rate
  heads = tuple(net.head for net in nets)
  seconds = tuple(heads.index(head) for head in _SECOND if head in heads)
  count = len(nets) + len(seconds)  # of affine maps
  qnn = heads.index("qnn") if "qnn" in heads else None

  def start(params):
    layers = [p["layers"][1] for p in params]
    maps = [(layer, _FIRST[head]) for layer, head in zip(layers, heads)]
    maps += [(layers[i], _SECOND[heads[i]]) for i in seconds]
    kernels = [layer[kernel] for layer, (kernel, _) in maps]  # each [S, h, C]
    biases = [layer[bias] for layer, (_, bias) in maps if bias]  # each [S, C]
    state = {
      "w": jnp.concatenate([k.transpose(2, 1, 0) for k in kernels], -1),  # [C, h, maps x S]
      "b": jnp.concatenate([b.T for b in biases], -1),  # [C, maps with a bias x S]
    }
    if qnn is not None:
      q = jax.vmap(ops.unpack)(layers[qnn]["q"])  # [S, C, h, h]
      state["q"] = q.transpose(1, 2, 3, 0)
    return state

  def finish(state):
    kernels = [k.transpose(2, 1, 0) for k in jnp.split(state["w"], count, -1)]
    biases = [b.T for b in jnp.split(state["b"], count - ("heavy" in heads), -1)]
    params = []
    for i, head in enumerate(heads):
      kernel, bias = _FIRST[head]
      layer = {kernel: kernels[i], bias: biases[i]}
      if head in _SECOND:
        j = len(nets) + seconds.index(i)
        kernel, bias = _SECOND[head]
        layer |= {kernel: kernels[j]} | ({bias: biases[j]} if bias else {})
      if head == "qnn":
        layer["q"] = jax.vmap(ops.pack)(state["q"].transpose(3, 0, 1, 2))
      params.append({"layers": {1: layer}})
    return params

  def run(state, z, g, y, valid):
    seeds, b, _ = z.shape
    h = nets[0].hidden
    part = lambda x, i: x[..., i * seeds : (i + 1) * seeds]  # noqa: E731, the lanes of net or map i
    to_lanes = lambda x: x.reshape(seeds, b, -1, h).transpose(1, 3, 2, 0).reshape(b, h, -1)  # noqa: E731
    put = lambda array, row, t: jax.lax.dynamic_update_index_in_dim(array, row, t, 0)  # noqa: E731
    z, y = to_lanes(z), y.transpose(1, 2, 0)
    g = jnp.tile(g.transpose(1, 2, 0), len(nets))  # [b, b, L]

    def step(carry, sample):
      w, bias, deltas, quadratic = carry
      t, z, g, y, valid = sample
      a = jax.nn.sigmoid(z - eta * (g[:, None] * deltas).sum(0))  # [h, L]
      inputs = [a]
      for i in seconds:
        inputs.append(part(a, i) if heads[i] == "rpqnn" else part(a, i) ** 2)
      inputs = jnp.concatenate(inputs, -1)  # [h, maps x S]
      outputs = (w * inputs).sum(1)  # [C, maps x S]

      if qnn is not None:
        diagonal, a_past, delta_past = quadratic
        a_q = part(a, qnn)
        overlap = (a_past * a_q).sum(1)  # [b, S], a_s.a_t
        past = ((overlap[:, None] * delta_past)[:, :, None] * a_past[:, None]).sum(0)
        v = (state["q"] * a_q).sum(2) - 2 * eta * past + diagonal * a_q  # V = A Q, (44)

      last = []  # delta^L of each net
      map_deltas = [None] * count
      for i, head in enumerate(heads):
        first = part(outputs, i) + part(bias, i)
        if head in _SECOND:
          j = len(nets) + seconds.index(i)
          second = part(outputs, j) + (part(bias, j) if head == "rpqnn" else 0)
        match head:
          case "ann":
            logits = first
          case "qnn":
            logits = first + (v * a_q).sum(1)  # (24)
          case "rpqnn":
            logits = first * second  # (52)
          case "heavy":
            logits = first + second
        delta = valid * (jax.nn.sigmoid(logits) - y)  # (50)
        last.append(delta)
        map_deltas[i] = delta
        if head == "rpqnn":  # (56), (59) and (57), (60)
          map_deltas[i], map_deltas[j] = delta * second, delta * first
        elif head == "heavy":
          map_deltas[j] = delta
      map_deltas = jnp.concatenate(map_deltas, -1)  # [C, maps x S]

      back = (w * map_deltas[:, None]).sum(0)  # [h, maps x S], (W^l)^T delta^l of each map
      to_a = [part(back, i) for i in range(len(nets))]
      if qnn is not None:
        to_a[qnn] += 2 * (v * last[qnn][:, None]).sum(0)  # (47)
      for j, i in enumerate(seconds, len(nets)):
        chain = 1 if heads[i] == "rpqnn" else 2 * part(a, i)  # (65); W + 2 X H of 000_…txt
        to_a[i] += chain * part(back, j)
      delta = jnp.concatenate(to_a, -1) * a * (1 - a)  # g' of (41)

      w = w - eta * inputs * map_deltas[:, None]  # (31)
      bias = bias - eta * map_deltas[:, : bias.shape[1]]  # (28)
      if qnn is not None:
        quadratic = (
          diagonal + eta * last[qnn][:, None] * (a_q * a_q),
          put(a_past, a_q, t),
          put(delta_past, last[qnn], t),
        )
      return (w, bias, put(deltas, delta, t), quadratic), None

    quadratic = None
    if qnn is not None:
      zeros = lambda *shape: jnp.zeros((*shape, seeds), z.dtype)  # noqa: E731
      quadratic = zeros(fleet.classes, h), zeros(b, h), zeros(b, fleet.classes)
    carry = (state["w"], state["b"], jnp.zeros_like(z), quadratic)
    (w, bias, deltas, quadratic), _ = jax.lax.scan(step, carry, (jnp.arange(b), z, g, y, valid))
    state = {**state, "w": w, "b": bias}
    if qnn is not None:
      diagonal, a_past, delta_past = quadratic
      outer = delta_past[:, :, None] * a_past[:, None]  # [b, C, h, S], delta_s (x) a_s
      q = state["q"] - 2 * eta * (outer[:, :, :, None] * a_past[:, None, None]).sum(0)
      state["q"] = q + diagonal[:, :, None] * jnp.eye(h, dtype=z.dtype)[None, :, :, None]  # (37)
    deltas = deltas.reshape(b, h, len(nets), seeds).transpose(3, 0, 2, 1).reshape(seeds, b, -1)
    return state, deltas

  return Tail(nets, start, run, finish)
