"""Every overload that the dispatcher lists is reached by the cases of operations, or falls under a stated rule."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conformance.report import markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from collections.abc import Set as AbstractSet

__all__ = ["COVERED", "RULES", "UNKNOWN", "Overload", "Rule", "audited", "page", "shares"]

COVERED = "reached"
UNKNOWN = "under no rule"


@dataclass(frozen=True, kw_only=True)
class Overload:
    """An overload of the dispatcher: its name, its schema as text, and the dispatch keys that have a kernel for it."""

    name: str
    schema: str
    kernels: frozenset[str]

    @property
    def base(self) -> str:
        """The operation, without namespace and overload."""
        return self.name.partition("::")[2].partition(".")[0]

    @property
    def overload(self) -> str:
        """The overload, without its operation."""
        return self.name.partition(".")[2]

    @property
    def namespace(self) -> str:
        """The library that it belongs to."""
        return self.name.partition("::")[0]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Why an overload is left out. `met` is whether a compile backend can be given it all the same."""

    name: str
    why: str
    met: bool
    holds: Callable[[Overload, AbstractSet[str]], bool]


def _is_variant(each: Overload, bases: AbstractSet[str]) -> bool:
    """Whether it is the in-place or `out=` variant of an operation that is reached."""
    dunder = re.sub(r"^__i(\w+)__$", r"__\1__", each.base)
    plain = dunder if dunder.endswith("__") else dunder.removesuffix("_")
    writes = "!" in each.schema
    return writes and bool({plain, each.base, each.base.replace("_out", "")} & bases)


def _named(pattern: str) -> Callable[[Overload, AbstractSet[str]], bool]:
    found = re.compile(pattern)
    return lambda each, _: found.search(f"{each.base}.{each.overload}") is not None


def _of_functionalization(base: str) -> bool:
    names = "copy|zero|resize|resize_as|embedding_renorm|slice_inverse|random|uniform|cauchy|exponential|geometric"
    return re.search(rf"_copy$|_functional$|^({names}|log_normal)$", base) is not None


_CPU = {
    "CPU",
    "CompositeExplicitAutograd",
    "CompositeImplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
}

RULES = (
    Rule(
        name="library",
        why="it is not of `aten`: quantization, communication, kernels of one library, parts of decompositions",
        met=False,
        holds=lambda each, _: each.namespace != "aten",
    ),
    Rule(
        name="no_tensor",
        why="it takes and returns no tensor: TorchScript's arithmetic of numbers, strings and lists",
        met=False,
        holds=lambda each, _: "Tensor" not in each.schema,
    ),
    Rule(
        name="names",
        why="it takes dimensions by name, which PyTorch compiles for no backend",
        met=False,
        holds=lambda each, _: "Dimname" in each.schema,
    ),
    Rule(
        name="device",
        why="it has no kernel for dense tensors on the CPU",
        met=False,
        holds=lambda each, _: not each.kernels & _CPU,
    ),
    Rule(
        name="layout",
        why="it is for sparse, nested, quantized or MKL-DNN tensors, whose numbers no check reads yet",
        met=False,
        holds=_named(
            r"sparse|coalesce|c?col_indices|c?row_indices|nested|jagged|padded_tensor|mkldnn|quantize|q_|qscheme"
            r"|int_repr|to_dense|dense_dim|^smm|sspaddmm|fake_quant|_values?\b|^values|^indices|quantized|fbgemm|choose_qparams|_coo|_csr|_bsr"
        ),
    ),
    Rule(
        name="variant",
        why="it writes into its argument or into `out=`, and the operation itself is reached",
        met=True,
        holds=_is_variant,
    ),
    Rule(
        name="functionalized",
        why="functionalization calls it in place of a view, or of what writes into its argument; programs do not",
        met=False,
        holds=lambda each, bases: _of_functionalization(each.base) or f"{each.base}_" in bases,
    ),
    Rule(
        name="unusable",
        why="called as its description says it differs from itself, has no defined result, or ends the process,"
        " uncompiled",
        met=False,
        holds=_named(r"^(empty\w*|new_empty\w*|linalg_eig|linalg_eigvals|pdist|feature_alpha_dropout)_?\."),
    ),
    Rule(
        name="deprecated",
        why="it warns that it will be removed",
        met=False,
        holds=_named(r"^range\."),
    ),
    Rule(
        name="state",
        why="it asks for or sets the state of a tensor (storage, gradient, version, device), without computing",
        met=False,
        holds=_named(
            r"^(set_?|set_data|data|is_\w+|_?version|output_nr|requires_grad_|retain_grad|retains_grad|record_stream"
            r"|rename_?|refine_names|align_\w+|pin_memory|_pin_memory|storage_offset|stride|size|sym_\w+|dim|numel|lift\w*"
            r"|_fw_primal|_make_dual|_unpack_dual|result_type|can_cast|promote_types|get_device|nbytes|element_size"
            r"|_backward|backward|from_file|_has_\w+|_is_\w+|_use_\w+|_cudnn_\w+|_nnpack_available|_debug_\w+|_assert\w*|get_gradients|conj|(un)?flatten_dense_tensors)\."
        ),
    ),
    Rule(
        name="internal",
        why="its name begins with an underscore: kernels call it, programs do not, unless a listed operation does",
        met=False,
        holds=lambda each, _: each.base.startswith("_") and not each.base.startswith(("__", "_foreach")),
    ),
    Rule(
        name="backward",
        why="a derivative that only backward calls",
        met=True,
        holds=_named(r"_backward|_double_backward|_jvp"),
    ),
    Rule(
        name="library_kernel",
        why="a kernel of cuDNN, MIOpen or the like, or of one that PyTorch chooses among; programs do not",
        met=False,
        holds=_named(
            r"^(cudnn|miopen|mps|lstm_mps|slow_conv|thnn|native_|conv_depthwise|cuda|batch_norm_(stats|gather|update|elemt)"
            r"|convolution_overrideable|affine_grid_generator|linalg__powsum|unique_dim_consecutive)"
        ),
    ),
    Rule(
        name="foreach",
        why="optimizers call it for lists of tensors; `op_db` does not describe it",
        met=True,
        holds=_named(r"^_foreach"),
    ),
    Rule(
        name="another_overload",
        why="another overload of the same operation is reached; this one takes a number or a list in place of a tensor,"
        " a generator, or other defaults",
        met=True,
        holds=lambda each, bases: each.base in bases,
    ),
)
"""In this order; of several that hold the first one counts."""


def audited(overloads: Sequence[Overload], reached: Collection[str]) -> dict[str, list[str]]:
    """The overloads by what they fall under: `COVERED`, the name of a rule, or `UNKNOWN`."""
    found: dict[str, list[str]] = {COVERED: [], **{rule.name: [] for rule in RULES}, UNKNOWN: []}
    bases = frozenset(name.partition("::")[2].partition(".")[0] for name in reached)
    for each in overloads:
        rule = next((rule.name for rule in RULES if rule.holds(each, bases)), UNKNOWN)
        found[COVERED if each.name in reached else rule].append(each.name)
    return found


def shares(found: Mapping[str, Sequence[str]]) -> tuple[int, int, int]:
    """How many overloads are reached, how many with their variants, and how many a compile backend can be given."""
    met = sum(len(found[rule.name]) for rule in RULES if rule.met)
    reached = len(found[COVERED])
    return reached, reached + len(found["variant"]), reached + met + len(found[UNKNOWN])


def page(found: Mapping[str, Sequence[str]], release: str, left_out: Mapping[str, str]) -> str:
    """The page of the audit."""
    reached, with_variants, possible = shares(found)
    rows = [(COVERED, len(found[COVERED]), "yes", _REACHED)]
    rows += [(rule.name, len(found[rule.name]), "yes" if rule.met else "", rule.why) for rule in RULES]
    rows += [(UNKNOWN, len(found[UNKNOWN]), "yes", ", ".join(map(markdown.code, found[UNKNOWN])))]
    blocks = (
        _MARKER,
        "# Audit of the operations",
        _ABOUT.format(release=release, total=sum(map(len, found.values()))),
        (
            f"Of {possible} overloads that a compile backend can be given, the cases of operations reach {reached}"
            f" ({100 * reached / possible:.1f} %), with in-place and `out=` variants of these"
            f" {with_variants} ({100 * with_variants / possible:.1f} %)."
        ),
        markdown.table(("falls under", "overloads", "can be given", "why"), rows, right=(1,)),
        "## Entries of `op_db` without a case",
        markdown.table(
            ("entry", "why"), [(markdown.code(name), markdown.plain(why)) for name, why in sorted(left_out.items())]
        ),
    )
    return "\n\n".join(blocks) + "\n"


_MARKER = "<!-- Generated by `nox -s operations`; changes made here are lost. -->"
_REACHED = "the dispatcher was seen to be asked for it while a case of an operation ran uncompiled"
_ABOUT = """\
The dispatcher of PyTorch {release} lists {total} overloads. Each was seen to be reached by a case of the family `ops`,
forward or backward, directly or from within another operation; or it falls under a rule of this table, of several the
first. One that does neither is an error of `nox -s cases`."""
