"""Pydantic models of the YAML files: their keys, the type of each, and the description that editors show.

Only the form is checked here. The rules between keys (inputs and calls, params and text) are checked by
`conformance.catalogue.loader`; the JSON Schemas of `conformance/schemas` are generated from these models.
"""

from __future__ import annotations

from typing import Annotated, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SkipValidation,
    StringConstraints,
    Tag,
)
from pydantic_core import PydanticCustomError

from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Capability
from conformance.model.moves import MOVES
from conformance.program.nests import AMBIENT, FORMS, MODES

__all__ = [
    "DTYPES",
    "AxesDocument",
    "CallDocument",
    "CaseDocument",
    "CaseFileDocument",
    "ExpectationDocument",
    "FamilyDocument",
    "InputDocument",
    "LawDocument",
    "NestDocument",
    "OperationsDocument",
    "PairDocument",
    "RaisesDocument",
    "SampleDocument",
    "StrictModel",
]

DTYPES: tuple[str, ...] = (
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
)


def _word_of(what: str, known: tuple[str, ...]) -> AfterValidator:
    """Refuse a word that is not one of `known`; the message names `what` it should have been."""
    kind = "unknown_word"

    def check(value: str) -> str:
        if value in known:
            return value
        raise PydanticCustomError(kind, "unknown {what}", {"what": what, "known": known})

    return AfterValidator(check)


def _specifier(value: str) -> str:
    kind = "not_a_specifier"
    try:
        SpecifierSet(value)
    except InvalidSpecifier as error:
        raise PydanticCustomError(kind, "not a version specifier such as '>=2.13,<2.15'") from error
    return value


Scalar = bool | int | float | str
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
ClassName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Size = Annotated[int, Field(ge=0)]
SizeOrParam = Annotated[
    # Only one of the two is tried, so that a wrong size is reported once.
    Annotated[Size, Tag("int")] | Annotated[Name, Tag("str")],
    Discriminator(lambda value: "str" if isinstance(value, str) else "int"),
]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Dtype = Annotated[str, _word_of("dtype", DTYPES), Field(json_schema_extra={"enum": list(DTYPES)})]
CheckName = Annotated[str, _word_of("check", tuple(CATALOGUE)), Field(json_schema_extra={"enum": list(CATALOGUE)})]
_OF_CASES = tuple(name for name, spec in CATALOGUE.items() if not spec.is_move)
CaseCheckName = Annotated[str, _word_of("check", _OF_CASES), Field(json_schema_extra={"enum": list(_OF_CASES)})]
MoveName = Annotated[str, _word_of("move", tuple(MOVES)), Field(json_schema_extra={"enum": list(MOVES)})]
Moves = Annotated[
    # Only one of the two is tried, so that a wrong word is reported once.
    Annotated[Literal["none", "usual", "all"], Tag("str")]
    | Annotated[list[MoveName], Field(min_length=1), Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "str"),
]
CapabilityName = Annotated[
    str, _word_of("capability", tuple(Capability)), Field(json_schema_extra={"enum": list(Capability)})
]
Grad = Literal["enabled", "disabled", "inference"]
Autocast = Literal["off", "bfloat16", "float16"]
Specifier = Annotated[str, AfterValidator(_specifier)]
CaseId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)+$")]
FamilyId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$")]
LawName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
ModeName = Annotated[str, _word_of("mode", tuple(MODES)), Field(json_schema_extra={"enum": list(MODES)})]
AmbientName = Annotated[str, _word_of("ambient mode", tuple(AMBIENT)), Field(json_schema_extra={"enum": list(AMBIENT)})]
Form = Annotated[str, _word_of("form", tuple(FORMS)), Field(json_schema_extra={"enum": list(FORMS)})]
Clause = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}-[0-9]+$")]
TagName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]


class StrictModel(BaseModel):
    """No unknown key and no silent conversion: `"4"` is not 4, and `true` is not 1."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class InputDocument(StrictModel):
    """One argument of the program: a seeded tensor, a literal tensor (`values`), or a Python value (`scalar`)."""

    shape: list[SizeOrParam] | None = Field(
        default=None,
        description="Sizes of the dimensions, as numbers or names of params; [] is a tensor without dimensions.",
    )
    dtype: Dtype | None = Field(default=None, description="Element type; default: the variant's dtype.")
    requires_grad: bool = Field(default=False, description="Whether autograd records operations on it.")
    stride: list[Size] | None = Field(default=None, description="Strides in elements; default: contiguous.")
    distribution: Literal["normal", "uniform", "integers", "special"] = Field(
        default="normal", description="Where its numbers come from; special is uniform with NaN, infinities and zeros."
    )
    low: int | float | None = Field(default=None, description="Smallest number of uniform or integers.")
    high: int | float | None = Field(default=None, description="Bound above (not reached) of uniform or integers.")
    values: list[bool | int | float] | None = Field(default=None, description="The numbers themselves, row by row.")
    scalar: Scalar | None = Field(default=None, description="A plain Python value; excludes every other key.")
    leaf: bool = Field(default=True, description="false: it is computed from a leaf, and its own gradient is kept.")
    inference: bool = Field(default=False, description="Whether it was made in inference mode.")
    alias_of: Name | None = Field(
        default=None, description="The input that is passed once more in its place; excludes every other key."
    )
    view_of: Name | None = Field(
        default=None, description="The input that it is a view of, with its own shape, stride and offset."
    )
    offset: Size = Field(default=0, description="Where a view begins in the memory of its input, in elements.")


class AxesDocument(StrictModel):
    """The axes of a case; its variants are their product."""

    grad: list[Grad] = Field(default=["enabled"], min_length=1, description="Ambient grad mode around the call.")
    autocast: list[Autocast] = Field(default=["off"], min_length=1, description="Ambient autocast around the call.")
    dtype: list[Dtype] = Field(default=["float32"], min_length=1, description="dtype of inputs that name none.")
    dynamic: list[Literal[True, False, "auto"]] = Field(
        default=[False], min_length=1, description="torch.compile(dynamic=...)."
    )
    params: dict[Name, Annotated[list[Scalar], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="Values for ${name} in program, setup and title, and for names in shapes of inputs.",
    )


class CallDocument(StrictModel):
    """One call of the compiled function in a sequence; keys that are not given keep the variant's values."""

    grad: Grad | None = Field(default=None, description="Ambient grad mode of this call.")
    autocast: Autocast | None = Field(default=None, description="Ambient autocast of this call.")
    dtype: Dtype | None = Field(default=None, description="dtype of inputs that name none, in this call.")
    shapes: dict[str, list[Size]] = Field(default_factory=dict, description="New shapes, by input.")
    requires_grad: dict[str, bool] = Field(default_factory=dict, description="New requires_grad, by input.")
    scalars: dict[str, Scalar] = Field(default_factory=dict, description="New values of scalar inputs.")
    backward: bool = Field(default=True, description="Whether backward runs after this call.")
    perturb: bool = Field(default=False, description="Change the weights in place before this call.")
    inplace: bool = Field(default=False, description="Double each floating result in place before backward.")


class RaisesDocument(StrictModel):
    """The exception that the uncompiled program raises, and that the backend must raise too."""

    stage: Literal["forward", "backward"] = Field(default="forward", description="Where it is raised.")
    type: ClassName = Field(default="RuntimeError", description="The exception's class name, e.g. _LinAlgError.")


class CaseDocument(StrictModel):
    """One program, its inputs, and what must hold of it."""

    id: CaseId = Field(description="area.topic.name in small letters; the file is named <area>_<topic>.yaml.")
    title: Text = Field(description="What the case shows, as one sentence.")
    program: Text = Field(description="Body of the function under test: a subset of Python over torch; it returns.")
    setup: str = Field(
        default="", description="Code run once, uncompiled, before the program: helpers, modules, functions."
    )
    inputs: dict[str, InputDocument] = Field(default_factory=dict, description="Arguments of the program, by name.")
    clauses: list[Clause] = Field(default_factory=list, description="Clauses of cases/SPEC.md it tests, e.g. GM-4.")
    source: Url | None = Field(default=None, description="Where the program comes from.")
    axes: AxesDocument = Field(default_factory=AxesDocument, description="What the case is varied over.")
    calls: list[CallDocument] | None = Field(
        default=None,
        min_length=1,
        description="Calls of one compiled function; default: two, the second on new weights.",
    )
    raises: RaisesDocument | None = Field(
        default=None, description="The exception that the uncompiled program raises, if it does."
    )
    requires: list[CapabilityName] = Field(default_factory=list, description="Capabilities a backend needs for it.")
    checks: dict[CaseCheckName, Literal["must"]] = Field(
        default_factory=dict, description="Checks this case asks for, or raises to MUST."
    )
    moves: Moves = Field(
        default="usual",
        description="What the caller does besides calling, in a variant of its own: a list of moves, or one of "
        "none, usual (of those that recompile, a few) and all.",
    )
    graph_breaks: Size = Field(default=0, description="How many graph breaks are allowed.")
    recompiles: Size | None = Field(
        default=None, description="How many recompiles; default: one per call that needs one."
    )
    tolerance: dict[Dtype, Positive] = Field(
        default_factory=dict, description="Replaces the tolerance of the fp64 rule, by dtype."
    )
    tags: list[TagName] = Field(default_factory=list, description="Words to select by: smoke, quick, timing, slow, ...")
    torch: Specifier | None = Field(default=None, description="Versions of torch it applies to, e.g. '>=2.13'.")
    timeout_s: Positive | None = Field(default=None, description="Seconds one request may compute or sleep.")


class SampleDocument(StrictModel):
    """Points that are drawn from nests too deep to run them all."""

    depth: Annotated[int, Field(ge=1, le=6)] = Field(description="How many levels each has.")
    count: Annotated[int, Field(ge=1)] = Field(description="How many are drawn.")
    seed: int = Field(default=0, description="Another seed draws other points.")


class NestDocument(StrictModel):
    """All nests of some modes, except those that a rule of `conformance.program.nests` prunes."""

    modes: dict[ModeName, Annotated[dict[Form, list[Clause]], Field(min_length=1)]] = Field(
        min_length=1, description="Modes, the forms each is given in, and the clauses that this tests."
    )
    ambient: list[AmbientName] = Field(min_length=1, description="Ambient modes of the caller around a nest.")
    depth: Annotated[int, Field(ge=1, le=3)] = Field(description="How many levels the deepest nests have.")
    sample: SampleDocument | None = Field(default=None, description="Some nests that are deeper still.")


class PairDocument(StrictModel):
    """Two nests that must do the same, for each value of each name in `each`."""

    left: list[Text] = Field(min_length=1, description="Levels, outermost first, e.g. no_grad_with; they form the id.")
    right: list[Text] = Field(description="Levels of the nest that must do the same; [] is no nest.")
    each: dict[Name, Annotated[list[Text], Field(min_length=1)]] = Field(
        default_factory=dict, description="Words for ${name} in left and right, in all combinations."
    )
    ambient: list[AmbientName] = Field(default=["enabled"], min_length=1, description="Ambient modes.")
    slow: bool = Field(default=True, description="Whether backends that compile slowly run some of it by default.")


class LawDocument(StrictModel):
    """A law: pairs of nests that must give the same results, whatever these are."""

    title: Text = Field(description="What must hold, as one sentence.")
    clauses: list[Clause] = Field(default_factory=list, description="Clauses of cases/SPEC.md it follows from.")
    pairs: list[PairDocument] = Field(min_length=1, description="The pairs of nests it is checked on.")


class OperationsDocument(StrictModel):
    """Operations of PyTorch, each called in several forms with inputs of several layouts."""

    group: Text = Field(description="The group of operations in operations.json, e.g. linalg.")


class FamilyDocument(StrictModel):
    """Cases that are generated: all nests of some modes, pairs of nests that must do the same, or operations."""

    id: FamilyId = Field(description="Prefix of the ids of its cases; its area is also the prefix of the file's name.")
    title: Text = Field(description="What its cases show, as one sentence.")
    clauses: list[Clause] = Field(default_factory=list, description="Clauses that each of its cases tests.")
    inputs: dict[str, InputDocument] = Field(default_factory=dict, description="Arguments of each program, by name.")
    setup: str = Field(default="", description="As in a case; it defines what `probe` calls.")
    probe: Text | None = Field(
        default=None, description="One call, e.g. probe(a), made and observed at each place of a nest."
    )
    requires: list[CapabilityName] = Field(default_factory=list, description="Capabilities the probe needs.")
    nest: NestDocument | None = Field(default=None, description="All nests to a depth.")
    laws: dict[LawName, LawDocument] | None = Field(default=None, min_length=1, description="Laws, by name.")
    operations: OperationsDocument | None = Field(default=None, description="Operations of PyTorch.")


class CaseFileDocument(StrictModel):
    """One file of cases: `cases/<area>_<topic>.yaml`."""

    topic: Text = Field(description="What the cases of this file have in common.")
    # Each case is validated on its own, so that a bad one does not hide the problems of the rest.
    cases: list[SkipValidation[CaseDocument]] = Field(default=[], min_length=1, description="The cases.")
    families: list[SkipValidation[FamilyDocument]] = Field(default=[], min_length=1, description="Generated cases.")


class ExpectationDocument(StrictModel):
    """One known failure of a backend; `<name>.expected.yaml` is a list of these."""

    cases: Text | Annotated[list[Text], Field(min_length=1)] = Field(
        description="A glob over case ids, or a list of globs; one that matches no case is an error."
    )
    excluded: list[Text] = Field(
        default=[], alias="except", description="Globs over case ids to exclude; each must exclude some."
    )
    variants: dict[str, Scalar] = Field(default_factory=dict, description="Axis values that the variant must have.")
    outcome: Literal["fail", "error", "crash", "timeout", "vacuous"] = Field(description="What happens.")
    checks: list[CheckName] = Field(default_factory=list, description="Which MUST checks fail; no other may.")
    also: list[CheckName] = Field(default=[], description="MUST checks that also fail in some of the cases.")
    raises: Text | None = Field(
        default=None, description="Regular expression found in 'Type: message' of an error or crash."
    )
    kind: Literal["bug", "notyet", "never"] = Field(description="bug needs an issue; never is by design.")
    torch: Specifier | None = Field(default=None, description="Versions of torch it holds for, e.g. '>=2.13,<2.15'.")
    packages: dict[Text, Specifier] = Field(
        default={}, description="Versions of the backend's own distributions that it holds for, by their names."
    )
    platform: Text | None = Field(default=None, description="Glob over the platforms it holds for, e.g. 'Linux-*'.")
    reason: Text = Field(description="Why, as one sentence.")
    issue: Text | None = Field(default=None, description="URL of the issue, or 'none found: <words searched for>'.")
