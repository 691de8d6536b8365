"""Numbers, signs and dtypes of single elements."""

import torch
import torch.nn.functional as F


def issue_183605(x):
    return x * torch.rsqrt(x.var(dim=-1, keepdim=True) + 1e-9)


def issue_183605_inputs():
    return torch.full((2, 6), 1e-10, dtype=torch.float16)


def issue_183606(x):
    return 1.0 / torch.frac(x)


def issue_183606_inputs():
    return torch.tensor([-0.0, -0.0, 0.0, 1.25])


def issue_183763(x):
    return torch.sinh(x)


def issue_183763_inputs():
    return torch.tensor([88.85, 89.25, -89.1, 1.0])


def issue_183765(x):
    return torch.cosh(x)


def issue_183765_inputs():
    return torch.tensor([88.85, 89.15, -89.2, 1.0])


def issue_183767(x):
    return torch.asinh(x)


def issue_183767_inputs():
    return torch.tensor([2e21, 6e25, -5e23, 1e9])


def issue_184415(a, b, c, d):
    return torch._foreach_sub([a, b], [c, d], alpha=3.0)


def issue_184415_inputs():
    return tuple(torch.randn(5) for _ in range(4))


def issue_185470(x):
    return F.threshold(x, 0.1, 0.0)


def issue_185470_inputs():
    return torch.tensor([0.1, 0.5, -0.5], dtype=torch.bfloat16)


def issue_186875(x):
    return torch.fmod(x, 1.7), torch.remainder(x, 1.7)


def issue_186875_inputs():
    return torch.tensor([1.7, -1.7], dtype=torch.bfloat16)


def issue_187018(x):
    negated = -x.abs()
    return torch.cat([negated, negated]).sum()


def issue_187018_inputs():
    return torch.tensor([210, 190], dtype=torch.uint8)


def issue_187340(x):
    return torch.nextafter(x, torch.zeros_like(x))


def issue_187340_inputs():
    return torch.tensor([[-0.0, -1.0], [0.0, 2.0], [1.0, -2.0]], dtype=torch.float16).t()


def issue_187935(x):
    return torch.signbit(x)


def issue_187935_inputs():
    return torch.tensor([[-0.0, 0.0, 3.0], [-2.0, -0.0, 0.5]], dtype=torch.float64)


def issue_188048(a, b):
    return torch.div(a, b, rounding_mode="floor")


def issue_188048_inputs():
    inf = float("inf")
    return torch.tensor([inf, -inf, 7.0], dtype=torch.float64), torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64)


def issue_188545(x):
    return torch.special.bessel_y0(x)


def issue_188545_inputs():
    return torch.tensor([float("inf"), 1.0, 2.5], dtype=torch.float64)


def issue_189808(x):
    return torch.sqrt(x).view(torch.int32)


def issue_189808_inputs():
    return torch.tensor([-1.0, -4.0, 4.0] * 8)


def issue_193760(x, y):
    return x.view(torch.bool).copy_(y.view(torch.bool)).view(torch.float32)


def issue_193760_inputs():
    return torch.randn(6, 6) * 10, torch.randn(6, 6) * 10


def issue_194547(loc, scale):
    return torch.distributions.Normal(loc, scale).sample()


def issue_194547_inputs():
    return torch.zeros(6, dtype=torch.float16), torch.ones(6)
