"""What scripts/_hlo.py counts in the text of compiled programs."""

import importlib
import pathlib

import jax
import jax.numpy as jnp
import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def count(monkeypatch):
  monkeypatch.syspath_prepend(SCRIPTS)
  return importlib.import_module("_hlo").count


def test_loops_within_loops_count_as_often_as_they_run(count):
  found = count("""HloModule nested

%inner_body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %p = (s32[], f32[4]{0}) parameter(0)
  %x = f32[4]{0} get-tuple-element(%p), index=1
  %add.1 = f32[4]{0} add(%x, %x), metadata={op_name="jit(f)/while/add"}
  ROOT %t = (s32[], f32[4]{0}) tuple(%i, %add.1)
}

%inner_condition (p.1: (s32[], f32[4])) -> pred[] {
  ROOT %less = pred[] compare(%a, %b), direction=LT
}

%outer_body (p.2: (s32[], f32[4])) -> (s32[], f32[4]) {
  %w = (s32[], f32[4]{0}) while(%p.2), condition=%inner_condition, body=%inner_body, backend_config={"known_trip_count":{"n":"5"}}
  %fusion.7 = f32[4]{0} fusion(%x), kind=kLoop, calls=%fused_computation
  ROOT %t.2 = (s32[], f32[4]{0}) tuple(%i, %fusion.7)
}

%outer_condition (p.3: (s32[], f32[4])) -> pred[] {
  %n = s32[]{:T(128)} constant(3)
  ROOT %less.3 = pred[]{:T(512)} compare(%a, %n), direction=LT
}

%fused_computation (q: f32[4]) -> f32[4] {
  %many = f32[4]{0} multiply(%q, %q)
  ROOT %more = f32[4]{0} add(%many, %q)
}

ENTRY %main.1 (arg: f32[4]) -> f32[4] {
  %arg = f32[4]{0} parameter(0)
  %copy.1 = f32[4]{0} copy(%arg)
  %loop = (s32[], f32[4]{0}) while(%init), condition=%outer_condition, body=%outer_body
  ROOT %out = f32[4]{0} get-tuple-element(%loop), index=1
}
""")
  # A copy; three times a fusion, whose inside is one launch, and five additions.
  assert found.launches == 1 + 3 * (1 + 5)
  assert found.trips == [3, 5]
  assert found.kernels == found.collectives == found.cycles == 0


def test_a_loop_of_unknown_length_is_named_and_counted_once(count):
  found = count("""HloModule unknown
%body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %add.1 = f32[4]{0} add(%x, %x)
}
%condition (p.1: (s32[], f32[4])) -> pred[] {
  ROOT %less = pred[] compare(%a, %b), direction=LT
}
ENTRY %main (arg: f32[4]) -> f32[4] {
  %loop = (s32[], f32[4]{0}) while(%init), condition=%condition, body=%body
}
""")
  assert found.trips == [None]
  assert found.launches == 1


@pytest.mark.parametrize(
  "branches",
  ("branch_computations={%short, %long}", "true_computation=%long, false_computation=%short"),
  ids=("several", "two"),
)
def test_of_branches_the_longest_and_calls_as_what_they_call(count, branches):
  found = count(f"""HloModule branches
%short (p: f32[4]) -> f32[4] {{
  %add.1 = f32[4]{{0}} add(%p, %p)
}}
%long (p.1: f32[4]) -> f32[4] {{
  %add.2 = f32[4]{{0}} add(%p, %p)
  %add.3 = f32[4]{{0}} add(%p, %add.2)
  %add.4 = f32[4]{{0}} add(%p, %add.3)
}}
%called (p.2: f32[4]) -> f32[4] {{
  %add.5 = f32[4]{{0}} add(%p, %p)
  %add.6 = f32[4]{{0}} add(%p, %add.5)
}}
ENTRY %main (arg: f32[4]) -> f32[4] {{
  %choice = f32[4]{{0}} conditional(%i, %a, %b), {branches}
  %call.1 = f32[4]{{0}} call(%choice), to_apply=%called
}}
""")
  assert found.launches == 3 + 2


def test_kernels_exchanges_and_what_goes_on_at_the_same_time(count):
  found = count("""HloModule async
ENTRY %main (arg: f32[4]) -> f32[4] {
  %s = (f32[4]{0}, f32[8]{0}) all-gather-start(%arg), dimensions={0}
  %d = f32[8]{0} all-gather-done(%s)
  %r = f32[4]{0} all-reduce(%arg), to_apply=%sum
  %c = (f32[4]{0}, f32[4]{0}, u32[]) copy-start(%arg)
  %e = f32[4]{0} copy-done(%c)
  %triton = (f32[4]{0}, /*index=1*/f32[4]{0}) custom-call(%e), custom_call_target="__gpu$xla.gpu.triton"
  %mosaic = f32[4]{0:T(8,128)S(1)} custom-call(%e), custom_call_target="tpu_custom_call", backend_config={"body":"x"}
  %product = f32[4]{0} custom-call(%e), custom_call_target="__cublas$gemm"
  %note = s32[] custom-call(%e), custom_call_target="AssumeGatherIndicesInBound"
  %f = f32[4]{0} fusion(%e), kind=kLoop, calls=%g, backend_config={"estimated_cycles":"1200"}
}
""")
  assert found.launches == 7
  assert found.kernels == 2
  assert found.collectives == 2
  assert found.cycles == 1200


def test_exchanges_are_found_however_deep_they_are(count):
  found = count("""HloModule hidden
%sum (a: f32[], b: f32[]) -> f32[] {
  ROOT %add.1 = f32[] add(%a, %b)
}
%wrapped (p: f32[4]) -> f32[4] {
  ROOT %r = f32[4]{0} all-reduce(%p), to_apply=%sum
}
%async_collective_fusion (p.1: f32[4]) -> f32[8] {
  %m = f32[4]{0} multiply(%p.1, %p.1)
  %s = (f32[4]{0}, f32[8]{0}) all-gather-start(%m), dimensions={0}
  ROOT %d = f32[8]{0} all-gather-done(%s)
}
%agreed (p.2: f32[4]) -> pred[] {
  %p.2 = f32[4]{0} parameter(0)
  ROOT %all = pred[] all-reduce(%p.2), to_apply=%sum
}
%body (p.3: f32[4]) -> f32[4] {
  ROOT %add.2 = f32[4]{0} add(%p.3, %p.3)
}
%short (p.4: f32[4]) -> f32[4] {
  ROOT %moved = f32[4]{0} collective-permute(%p.4), source_target_pairs={{0,1}}
}
%long (p.5: f32[4]) -> f32[4] {
  %add.3 = f32[4]{0} add(%p.5, %p.5)
  ROOT %add.4 = f32[4]{0} add(%add.3, %p.5)
}
ENTRY %main (arg: f32[4]) -> f32[4] {
  %begun = ((f32[4]{0}), f32[4]{0}) async-start(%arg), calls=%wrapped
  %on = ((f32[4]{0}), f32[4]{0}) async-update(%begun), calls=%wrapped
  %ended = f32[4]{0} async-done(%on), calls=%wrapped
  %f = f32[8]{0} fusion(%ended), kind=kCustom, calls=%async_collective_fusion
  %c = f32[8]{0} custom-call(%f), custom_call_target="Outlined", called_computations={%wrapped}
  %w = f32[4]{0} while(%c), condition=%agreed, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  ROOT %b = f32[4]{0} conditional(%i, %a, %b), branch_computations={%short, %long}
}
""")
  # The begun one, the fusion's, the call's, one a trip, and the shorter branch's.
  assert found.collectives == 1 + 1 + 1 + 3 + 1


@pytest.mark.parametrize("trips", (3, 11))
def test_compiled_loops_are_found_with_their_lengths(count, trips):
  def inner(x, _):
    return jnp.sin(x @ x), None

  def outer(x, _):
    return jnp.cos(jax.lax.scan(inner, x, None, 7)[0] @ x), None

  def of(length):
    program = jax.jit(lambda x: jax.lax.scan(outer, x, None, length)[0])
    return count(program.lower(jnp.ones((8, 8))).compile().as_text())

  found, longer = of(trips), of(trips + 1)
  assert found.trips == [trips, 7]
  # One trip more of the outer loop: seven of the inner one, of a product and a sine at least, and a product.
  assert longer.launches - found.launches >= 7 * 2 + 1
  assert of(trips + 2).launches - longer.launches == longer.launches - found.launches
