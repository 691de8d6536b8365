"""Arguments that the uncompiled function refuses, by an exception."""

import torch
import torch.nn.functional as F


def issue_182965(x):
    return torch.linalg.cholesky(x)


def issue_182965_inputs():
    return torch.tensor([[1.0, 3.0], [3.0, 1.0]])


def issue_185246(p):
    return torch.bernoulli(p)


def issue_185246_inputs():
    return torch.full((4,), 2.0)


def issue_185248(mean, deviation):
    return torch.normal(mean, deviation)


def issue_185248_inputs():
    return torch.zeros(4), torch.full((4,), -1.0)


def issue_185330(x, index):
    return torch.index_select(x, 0, index)


def issue_185330_inputs():
    return torch.tensor([10, 20, 30], dtype=torch.uint16), torch.tensor([0, 2, 1])


def issue_185481(scores, values):
    return values[torch.argmax(scores > 0.0, dim=1)].sum()


def issue_185481_inputs():
    return torch.tensor([[-1.0, 2.0, -3.0], [4.0, -5.0, 6.0]]), torch.tensor([10.0, 20.0, 30.0])


def issue_194501(a, b):
    return F.smooth_l1_loss(a, b, beta=-1.0)


def issue_194501_inputs():
    return torch.tensor([1.0]), torch.tensor([0.0])


def issue_194548(logits):
    return torch.distributions.Categorical(logits=logits).sample()


def issue_194548_inputs():
    return torch.randn(0, 2)


def issue_195402(x, index):
    return (x - 0.5)[index]


def issue_195402_inputs():
    return torch.randn(1, 8, 66, 66), torch.tensor([[1]])


def issue_195402_shows(compiled):
    try:
        compiled(*issue_195402_inputs())  # where the issue is not fixed, the process ends here
    except (IndexError, RuntimeError):
        return False
    return True


def issue_195579(bias, a, b):
    return torch.addmm(bias, a, b)


def issue_195579_inputs():
    return torch.randn(500, 1), torch.randn(1, 1), torch.randn(1, 1)


def issue_195665(x):
    return torch.cumsum(torch.as_strided(x * 2, size=[16, 16, 3], stride=[1, 16, 48]), 1)


def issue_195665_inputs():
    return torch.ones(1, 2)


def issue_195674(x):
    return 1 - (x < 0)


def issue_195674_inputs():
    return torch.randn(4)


def issue_195675(x):
    return torch.clamp(x, min=-3.4e39, max=3.4e39)


def issue_195675_inputs():
    return torch.randn(4)
