"""Reading and writing at indices, through views, and in place."""

import torch
import torch.nn.functional as F

import conformance


def issue_182343(boundaries, values):
    return torch.searchsorted(boundaries[1:], values, right=True)


def issue_182343_inputs():
    return torch.tensor([0, 4, 7, 12]), torch.arange(12)


def issue_183986(source, index):
    return torch.zeros(1, 8).expand(4, -1).index_add(0, index, source)


def issue_183986_inputs():
    return torch.ones(3, 8), torch.tensor([0, 1, 0])


@conformance.case(dynamic=[True])
def issue_187027(x):
    return torch.repeat_interleave((x + 1).flatten(), 2).flip(0)


def issue_187027_inputs():
    return torch.randn(8, 8)


def issue_187027_shows(_compiled):
    x = issue_187027_inputs()
    return not torch.equal(torch.compile(issue_187027, dynamic=True)(x), issue_187027(x))


def issue_191571(x, index):
    total = torch.zeros(1, x.shape[1])
    total.scatter_add_(0, index.unsqueeze(-1).expand(-1, x.shape[1]), x)
    return torch.index_select(total, 0, index)


def issue_191571_inputs():
    return torch.randn(8, 4), torch.zeros(8, dtype=torch.long)


def issue_195422(x):
    y = F.dropout(x, 0.5, training=False)
    y += y
    return y


def issue_195422_inputs():
    return torch.ones(2, 3)


def _step(parameter, gradient, mean, square, count):
    count.add_(1)
    mean.mul_(0.9).add_(gradient, alpha=0.1)
    square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    step = count.item()
    scale = 0.001 / (1 - 0.9**step)
    parameter.addcdiv_(mean, (square.sqrt() / (1 - 0.999**step) ** 0.5).add_(1e-8), value=-scale)


@conformance.case(graph_breaks=9)
def issue_185382(parameter, gradient):
    parameter = parameter.clone()
    mean, square, count = torch.zeros_like(parameter), torch.zeros_like(parameter), torch.tensor(0.0)
    for _ in range(3):
        _step(parameter, gradient, mean, square, count)
    return parameter


def issue_185382_inputs():
    return torch.randn(64), torch.randn(64)
