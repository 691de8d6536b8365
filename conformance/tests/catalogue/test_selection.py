from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.catalogue.selection import decided, digest, is_smoke, select
from conformance.model.case import Variant
from conformance.model.enums import OPERATIONS, SLOW_COMPILE, Capability, Extent, Outcome, Tier
from conformance.model.errors import SelectionError
from conformance.model.request import Selection
from conformance.tests.fakes import a_backend, a_case, a_request

CASES = (
    a_case("grad_mode.nesting.one", tags=frozenset({"timing"})),
    a_case("grad_mode.nesting.two", variants=(Variant(), Variant(grad="disabled"), Variant(dynamic=True))),
    a_case("views.add.one", tags=frozenset({"smoke"})),
)
BACKENDS = (a_backend("first"), a_backend("second"))


def test_everything_is_planned_backend_by_backend_with_smoke_cases_first() -> None:
    """Without restrictions every variant of every case runs on every backend, in a fixed order."""
    plan = select(CASES, BACKENDS)
    assert [request.key for request in plan.requests] == [
        (backend, case, variant)
        for backend in ("first", "second")
        for case, variant in [
            ("views.add.one", "grad=enabled"),
            ("grad_mode.nesting.one", "grad=enabled"),
            ("grad_mode.nesting.two", "grad=enabled"),
            ("grad_mode.nesting.two", "grad=disabled"),
            ("grad_mode.nesting.two", "grad=enabled,dynamic=true"),
        ]
    ]
    assert (plan.total, plan.selection, plan.scouts, plan.backends) == (10, Selection(), (), BACKENDS)


def test_an_id_names_one_variant_of_a_case_named_in_full() -> None:
    """The command that reproduces a default variant runs that variant alone, not those with further values too."""
    named = select(CASES, BACKENDS[:1], case_globs=["grad_mode.nesting.two"], variants=["grad=enabled"])
    assert [request.variant.id for request in named.requests] == ["grad=enabled"]
    matched = select(CASES, BACKENDS[:1], case_globs=["grad_mode.*two"], variants=["grad=enabled"])
    assert [request.variant.id for request in matched.requests] == ["grad=enabled", "grad=enabled,dynamic=true"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"case_globs": ["views.*"]}, {"views.add.one"}),
        ({"case_globs": ["views.*", "*.two"]}, {"views.add.one", "grad_mode.nesting.two"}),
        ({"tags": ["timing", "smoke"]}, {"views.add.one", "grad_mode.nesting.one"}),
        ({"exclude_tags": ["timing"]}, {"views.add.one", "grad_mode.nesting.two"}),
        ({"variants": ["grad=disabled"]}, {"grad_mode.nesting.two"}),
    ],
)
def test_restrictions_keep_the_cases_they_name(asked: dict[str, list[str]], expected: set[str]) -> None:
    """Globs and tags are alternatives among themselves, and are in the plan's selection."""
    plan = select(CASES, BACKENDS[:1], **asked)  # type: ignore[arg-type]
    assert {request.case.id for request in plan.requests} == expected
    assert plan.selection.given == {
        "cases" if name == "case_globs" else name: tuple(given) for name, given in asked.items()
    }


def test_a_shuffled_plan_holds_the_same_requests() -> None:
    """In another order, which is the same for the same seed."""
    plain, one, again = (select(CASES, BACKENDS, shuffle=seed).requests for seed in (None, 3, 3))
    assert one == again != plain
    assert {request.key for request in one} == {request.key for request in plain}


def test_a_variant_must_have_all_pairs_of_one_of_those_given() -> None:
    """Pairs within one text are held together, texts are alternatives."""
    plan = select(CASES, BACKENDS[:1], variants=["grad=enabled,dynamic=true", "grad=disabled,dynamic=false"])
    assert [request.variant.id for request in plan.requests] == ["grad=disabled", "grad=enabled,dynamic=true"]


def test_the_id_of_a_variant_selects_it_even_with_a_comma_in_a_parameter() -> None:
    """The command that reproduces a record finds its variant whatever its parameters hold."""
    variant = Variant(params={"sizes": "2,3"})
    case = a_case(variants=(variant, Variant(params={"sizes": "4"})))
    plan = select([case], BACKENDS[:1], variants=[variant.id])
    assert [request.variant for request in plan.requests] == [variant]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"case_globs": ["grad_mod.*"]}, "no case matches 'grad_mod.*'.\n  Did you mean 'grad_mode.*'"),
        ({"case_globs": ["zzzzzz"]}, "no case matches 'zzzzzz'.\n  Known: grad_mode.*, "),
        ({"variants": ["grad=disable"]}, "no variant matches 'grad=disable'.\n  Did you mean 'grad=disabled'"),
        ({"variants": ["disabled"]}, "no variant matches 'disabled'"),
        ({"variants": ["grad=x"]}, "no variant matches 'grad=x'.\n  Known: grad=disabled, grad=enabled."),
        ({"tags": ["ops"]}, "the cases of ops are in a folder of their own: add --cases cases/operations"),
        ({"case_globs": ["ops.torch.*"]}, "add --cases cases/operations"),
        ({"tags": ["smok"]}, "no tag matches 'smok'.\n  Did you mean 'smoke'"),
        ({"exclude_tags": ["smok"]}, "no tag matches 'smok'"),
        ({"case_globs": ["views.*"], "tags": ["timing"]}, "no case is left: of 3 cases none"),
        ({"shard": (3, 2)}, "shard 3/2 does not exist: the first is 1/2, the last 2/2"),
        ({"shard": (11, 11)}, "shard 11/11 is empty: there are only 10 requests"),
    ],
)
def test_what_matches_nothing_is_refused_with_a_hint(asked: dict[str, object], message: str) -> None:
    """A misspelt restriction must not quietly run nothing, or everything."""
    with pytest.raises(SelectionError) as caught:
        select(CASES, BACKENDS, **asked)  # type: ignore[arg-type]
    assert message in str(caught.value)


TIERED = (
    a_case(),
    a_case(
        "nest.modes.one",
        tags=frozenset({"exhaustive", "nest"}),
        variants=(Variant(tier=Tier.DEFAULT), Variant(grad="disabled", tier=Tier.FAST)),
    ),
    a_case(
        "nest.modes.one.two",
        tags=frozenset({"exhaustive", "nest"}),
        variants=(Variant(tier=Tier.EXHAUSTIVE),),
    ),
)
EVERYWHERE = {("demo.first.one", "grad=enabled"), ("nest.modes.one", "grad=enabled")}
FAST = ("nest.modes.one", "grad=disabled")
DEEP = ("nest.modes.one.two", "grad=enabled")


@pytest.mark.parametrize(
    ("asked", "fast", "slow"),
    [
        ({}, EVERYWHERE | {FAST}, EVERYWHERE),
        ({"case_globs": ["nest.*"]}, {FAST, ("nest.modes.one", "grad=enabled")}, {("nest.modes.one", "grad=enabled")}),
        ({"tags": ["nest"]}, {FAST, ("nest.modes.one", "grad=enabled")}, {("nest.modes.one", "grad=enabled")}),
        ({"tags": ["exhaustive"]}, {FAST, DEEP, ("nest.modes.one", "grad=enabled")}, None),
        ({"case_globs": ["nest.modes.one.two"]}, {DEEP}, None),
        ({"case_globs": ["nest.modes.one"]}, {FAST, ("nest.modes.one", "grad=enabled")}, None),
        ({"case_globs": ["nest.modes.one"], "variants": ["grad=disabled"]}, {FAST}, None),
    ],
)
def test_what_a_backend_runs_follows_from_tiers_unless_it_is_asked_for(
    asked: dict[str, list[str]], fast: set[tuple[str, str]], slow: set[tuple[str, str]] | None
) -> None:
    """By the tag `exhaustive` or a full id everything runs on every backend; else slow ones run what is everywhere."""
    backends = (a_backend("quick"), a_backend("slow", tags=frozenset({SLOW_COMPILE})))
    planned: dict[str, set[tuple[str, str]]] = {"quick": set(), "slow": set()}
    for request in select(TIERED, backends, **asked).requests:  # type: ignore[arg-type]
        planned[request.backend.name].add((request.case.id, request.variant.id))
    assert planned == {"quick": fast, "slow": fast if slow is None else slow}


def test_what_runs_only_when_asked_for_says_so() -> None:
    """For a glob that matches only such cases, the error explains how to request them."""
    with pytest.raises(
        SelectionError, match=r"runs only when it is asked for\.\n  Add --tier exhaustive, or name a case"
    ):
        select(TIERED, BACKENDS, case_globs=["nest.modes.one.t*"])


@pytest.mark.parametrize(
    ("variant", "needs"),
    [
        (Variant(), None),
        (Variant(grad="disabled"), "needs grad_mode"),
        (Variant(grad="inference", autocast="float16"), "needs autocast, float16, inference_mode"),
    ],
)
def test_what_the_caller_holds_must_be_claimed_too(variant: Variant, needs: str | None) -> None:
    """A variant whose ambient modes a backend does not claim is unsupported; the case's others are not."""
    request = a_request(a_case(variants=(variant,)), a_backend(capabilities=frozenset({Capability.TRAINING})))
    assert decided(request, "2.13.0") == (needs and (Outcome.UNSUPPORTED, needs))


@pytest.mark.parametrize(
    ("tags", "grad", "needs"),
    [
        ({OPERATIONS}, "enabled", "needs training"),
        ({OPERATIONS}, "disabled", None),
        (set(), "disabled", "needs training"),
    ],
)
def test_an_operation_that_nothing_records_needs_no_training(tags: set[str], grad: str, needs: str | None) -> None:
    """It is all that an inference backend is for; any other program may turn recording on."""
    case = a_case(variants=(Variant(grad=grad),), tags=frozenset(tags), requires=frozenset({Capability.TRAINING}))
    request = a_request(case, a_backend(capabilities=frozenset({Capability.GRAD_MODE})))
    assert decided(request, "2.13.0") == (needs and (Outcome.UNSUPPORTED, needs))


@pytest.mark.parametrize(
    ("case_limit", "backend_limit", "given", "expected"),
    [(None, None, None, 120.0), (None, 300.0, None, 300.0), (30.0, 300.0, None, 30.0), (30.0, 300.0, 5.0, 5.0)],
)
def test_the_nearest_time_limit_counts(
    case_limit: float | None, backend_limit: float | None, given: float | None, expected: float
) -> None:
    """The user's limit beats the case's, which beats the backend's, which beats the default."""
    plan = select([a_case(timeout_s=case_limit)], [a_backend(compile_timeout_s=backend_limit)], timeout_s=given)
    assert plan.requests[0].timeout_s == expected
    assert plan.selection == Selection(timeout_s=given)


@settings(deadline=None)
@given(count=st.integers(1, 10))
def test_shards_are_the_whole_plan_cut_into_parts(count: int) -> None:
    """No request is lost or doubled, and every part knows the whole."""
    whole = select(CASES, BACKENDS, seed=7)
    parts = [select(CASES, BACKENDS, seed=7, shard=(index, count)) for index in range(1, count + 1)]
    assert sorted(r.key for part in parts for r in part.requests) == sorted(r.key for r in whole.requests)
    assert {(part.digest, part.total, part.seed) for part in parts} == {(whole.digest, whole.total, 7)}


@settings(deadline=None)
@given(count=st.integers(1, 10))
def test_every_shard_sees_every_smoke_request(count: int) -> None:
    """The gate decides the same everywhere: what is not a shard's own smoke request is its scout."""
    smoke = {request.key for request in select(CASES, BACKENDS).requests if is_smoke(request)}
    for index in range(1, count + 1):
        part = select(CASES, BACKENDS, shard=(index, count))
        own = [request.key for request in part.requests if is_smoke(request)]
        assert sorted([*own, *(request.key for request in part.scouts)]) == sorted(smoke)


def test_the_digest_distinguishes_plans_whatever_their_order() -> None:
    """It depends on the requests alone."""
    keys = [request.key for request in select(CASES, BACKENDS).requests]
    assert digest(keys) == digest(reversed(keys)) == select(CASES, reversed(BACKENDS)).digest
    assert digest(keys) != digest(keys[1:])


def test_a_broken_backend_is_one_request() -> None:
    """A plug-in that cannot be loaded is one row with the reason."""
    plan = select(CASES, [a_backend("bad", broken="ImportError: no such module"), BACKENDS[0]])
    assert [request.backend.name for request in plan.requests].count("bad") == 1


@pytest.mark.parametrize(
    ("backend", "case", "expected"),
    [
        (a_backend(), a_case(), None),
        (
            a_backend(broken="ImportError: x", unavailable="y"),
            a_case(),
            (Outcome.ERROR, "the backend cannot be used: ImportError: x"),
        ),
        (a_backend(unavailable="no C++ compiler"), a_case(), (Outcome.SKIP, "no C++ compiler")),
        (
            a_backend(capabilities=frozenset({Capability.COMPLEX})),
            a_case(requires=frozenset({Capability.TRAINING, Capability.COMPLEX, Capability.AUTOCAST})),
            (Outcome.UNSUPPORTED, "needs autocast, training"),
        ),
        # A backend that does not claim to draw the same random numbers is still judged on all else.
        (a_backend(capabilities=frozenset()), a_case(requires=frozenset({Capability.RNG})), None),
        (a_backend(), a_case(torch=">=2.14"), (Outcome.SKIP, "needs torch >=2.14, this is 2.13.0+cpu")),
        (a_backend(), a_case(torch=">=2.13"), None),
    ],
)
def test_what_needs_no_run_is_decided_with_a_reason(
    backend: object, case: object, expected: tuple[Outcome, str] | None
) -> None:
    """Broken, unavailable, not claimed, or made for another torch: known before anything runs."""
    assert decided(a_request(case, backend), "2.13.0+cpu") == expected  # type: ignore[arg-type]


def test_many_names_are_not_listed_in_a_hint() -> None:
    """Where nothing is close and much is known, there is a command that shows it."""
    cases = [a_case(f"demo.first.number{number}") for number in range(30)]
    with pytest.raises(SelectionError, match="`conformance list` shows what there is"):
        select(cases, BACKENDS, case_globs=["zzzzzz"])


OPERATION = a_case("ops.torch.add", tags=frozenset({"ops"}), variants=(Variant(), Variant(tier=Tier.EXHAUSTIVE)))


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, 0),
        ({"tags": ["ops", "timing"]}, 1),
        ({"case_globs": ["ops.torch.add", "views.add.one"]}, 2),
        ({"extent": Extent.EXHAUSTIVE}, 2),
    ],
)
def test_some_cases_are_run_only_where_their_tag_is_asked_for(asked: dict[str, Any], count: int) -> None:
    """By default they are left out; by the tag they run in their default size, by their full id or all in full."""
    plan = select((*CASES, OPERATION), BACKENDS[:1], **asked)
    assert sum(request.case is OPERATION for request in plan.requests) == count


def test_cases_that_are_left_out_say_how_to_ask_for_them() -> None:
    """A glob alone does not."""
    with pytest.raises(SelectionError, match="Add --tag ops, or name a case in full"):
        select((*CASES, OPERATION), BACKENDS, case_globs=["ops.*"])
