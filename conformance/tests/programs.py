"""Programs as in a case file, for the tests of what a program may contain and of locations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.model.case import Location
from conformance.program.build import problems
from conformance.tests.fakes import a_case

if TYPE_CHECKING:
    from conformance.model.case import Case

__all__ = ["AUTOGRAD_FUNCTION", "MODULE", "PROGRAM", "case_of", "found"]

PROGRAM = Location(file="cases/demo.yaml", line=20, column=7)
SETUP = Location(file="cases/demo.yaml", line=10, column=7)


def case_of(program: str, setup: str = "", **changes: Any) -> Case:
    """A case whose program starts at 20:7 of its file, and whose setup starts at 10:7."""
    return a_case(program=program, setup=setup, program_location=PROGRAM, setup_location=SETUP, **changes)


def found(program: str, setup: str = "", **changes: Any) -> list[str]:
    """The problems of a program, without the file's name and the case's id."""
    texts = [str(problem).removeprefix("cases/demo.yaml:") for problem in problems(case_of(program, setup, **changes))]
    return sorted(text.replace(" in case 'demo.first.one'", "") for text in texts)


MODULE = """class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = torch.nn.Linear(4, 4)
        self.register_buffer('seen', torch.zeros(1))

    def forward(self, x):
        self.seen.add_(1)
        return self.lin(x).relu()


net = Net()
"""

AUTOGRAD_FUNCTION = """class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return g * 2
"""
