"""Diffusion: schedules, denoisers, objectives, samplers and the networks' usual blocks."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def extract(a, t, x_shape):
    b, *_ = t.shape
    out = a.gather(-1, t)
    return out.reshape(b, *((1,) * (len(x_shape) - 1)))


def linear_schedule(steps=20):
    betas = torch.linspace(1e-3, 0.2, steps)
    alphas = 1.0 - betas
    return betas, alphas, torch.cumprod(alphas, dim=0)


betas, alphas, alphas_cumprod = linear_schedule()


def q_sample(x_start, t, noise):
    """The forward process at given times."""
    return (
        extract(alphas_cumprod.sqrt(), t, x_start.shape) * x_start
        + extract((1.0 - alphas_cumprod).sqrt(), t, x_start.shape) * noise
    )


def q_sample_inputs():
    return torch.randn(3, 2, 4, 4, requires_grad=True), torch.randint(0, 20, (3,)), torch.randn(3, 2, 4, 4)


def cosine_schedule(t):
    """Betas from the squared cosine of Nichol and Dhariwal."""
    f = torch.cos((t + 0.008) / 1.008 * math.pi * 0.5) ** 2
    f = f / f[0]
    return torch.clip(1 - f[1:] / f[:-1], 0, 0.999)


def cosine_schedule_inputs():
    return torch.linspace(0, 1, 21)


def timestep_embedding(t, dim=8):
    """Sinusoidal embeddings of time."""
    half = dim // 2
    freqs = torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
    args = t[:, None].float() * freqs[None, :]
    return torch.cat((args.sin(), args.cos()), dim=-1)


def timestep_embedding_inputs():
    return torch.randint(0, 20, (5,))


class LearnedSinusoidal(nn.Module):
    """Random Fourier features of time with learned frequencies."""

    def __init__(self, dim=8):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(dim // 2))

    def forward(self, x):
        freqs = x[:, None] * self.weights[None] * 2 * math.pi
        return torch.cat((x[:, None], freqs.sin(), freqs.cos()), dim=-1)


def LearnedSinusoidal_inputs():
    return torch.rand(4)


class ResnetBlock(nn.Module):
    """GroupNorm, a scale and shift from time, SiLU and convolution."""

    def __init__(self, dim=4, time_dim=6):
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_dim, dim * 2))
        self.proj, self.norm = nn.Conv2d(dim, dim, 3, padding=1), nn.GroupNorm(2, dim)

    def forward(self, x, time):
        scale, shift = self.mlp(time)[:, :, None, None].chunk(2, dim=1)
        return F.silu(self.norm(self.proj(x)) * (scale + 1) + shift) + x


def ResnetBlock_inputs():
    return torch.randn(2, 4, 6, 6, requires_grad=True), torch.randn(2, 6)


class LinearAttention(nn.Module):
    """Attention that is linear in the number of pixels."""

    def __init__(self, dim=4, heads=2, dim_head=4):
        super().__init__()
        self.scale, self.heads = dim_head**-0.5, heads
        self.to_qkv = nn.Conv2d(dim, heads * dim_head * 3, 1, bias=False)
        self.to_out = nn.Conv2d(heads * dim_head, dim, 1)

    def forward(self, x):
        b, _, h, w = x.shape
        q, k, v = (t.reshape(b, self.heads, -1, h * w) for t in self.to_qkv(x).chunk(3, dim=1))
        q, k = q.softmax(dim=-2) * self.scale, k.softmax(dim=-1)
        context = torch.einsum("b h d n, b h e n -> b h d e", k, v)
        out = torch.einsum("b h d e, b h d n -> b h e n", context, q)
        return self.to_out(out.reshape(b, -1, h, w))


def LinearAttention_inputs():
    return torch.randn(2, 4, 4, 4, requires_grad=True)


class ModulatedBlock(nn.Module):
    """The adaptive layer norm (zero) of a diffusion transformer."""

    def __init__(self, dim=8):
        super().__init__()
        self.norm = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.ada = nn.Sequential(nn.SiLU(), nn.Linear(dim, 3 * dim))
        self.mlp = nn.Sequential(nn.Linear(dim, 16), nn.GELU(approximate="tanh"), nn.Linear(16, dim))
        nn.init.zeros_(self.ada[1].bias)

    def forward(self, x, c):
        shift, scale, gate = self.ada(c).chunk(3, dim=1)
        h = self.norm(x) * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)
        return x + gate.unsqueeze(1) * self.mlp(h)


def ModulatedBlock_inputs():
    return torch.randn(2, 5, 8, requires_grad=True), torch.randn(2, 8)


denoiser = nn.Sequential(nn.Linear(5, 16), nn.SiLU(), nn.Linear(16, 4))


def predict_noise(x, t):
    return denoiser(torch.cat([x, t[:, None].float() / 20], dim=-1))


def epsilon_loss(x_start):
    """The simple objective: random times, random noise, squared error."""
    t = torch.randint(0, 20, (x_start.shape[0],))
    noise = torch.randn_like(x_start)
    return F.mse_loss(predict_noise(q_sample(x_start, t, noise), t), noise)


def epsilon_loss_inputs():
    return torch.randn(8, 4)


def min_snr_loss(x_start, noise, t):
    """The squared error weighted by a clipped signal-to-noise ratio."""
    loss = F.mse_loss(predict_noise(q_sample(x_start, t, noise), t), noise, reduction="none").mean(-1)
    snr = alphas_cumprod / (1 - alphas_cumprod)
    weight = snr.clamp(max=5.0) / snr
    return (loss * extract(weight, t, loss.shape)).mean()


def min_snr_loss_inputs():
    return torch.randn(6, 4), torch.randn(6, 4), torch.randint(0, 20, (6,))


def v_prediction(x_start, noise, t):
    """The velocity target and the start that it gives back."""
    a, s = extract(alphas_cumprod.sqrt(), t, x_start.shape), extract((1 - alphas_cumprod).sqrt(), t, x_start.shape)
    x_t = a * x_start + s * noise
    v = a * noise - s * x_start
    return v, a * x_t - s * v


def v_prediction_inputs():
    return torch.randn(6, 4, requires_grad=True), torch.randn(6, 4), torch.randint(0, 20, (6,))


@torch.no_grad()
def ddpm_step(x, t):
    """One ancestral sampling step with fresh noise."""
    beta, alpha_bar = extract(betas, t, x.shape), extract(alphas_cumprod, t, x.shape)
    mean = (x - beta / (1 - alpha_bar).sqrt() * predict_noise(x, t)) / extract(alphas, t, x.shape).sqrt()
    return mean + beta.sqrt() * torch.randn_like(x) * (t > 0).float()[:, None]


def ddpm_step_inputs():
    return torch.randn(4, 4), torch.full((4,), 7)


@torch.inference_mode()
def ddim_sample(x):
    """Four deterministic steps of DDIM in a Python loop."""
    for now, then in ((19, 14), (14, 9), (9, 4), (4, 0)):
        t = torch.full((x.shape[0],), now)
        noise = predict_noise(x, t)
        x0 = (x - (1 - alphas_cumprod[now]).sqrt() * noise) / alphas_cumprod[now].sqrt()
        x = alphas_cumprod[then].sqrt() * x0.clamp(-1, 1) + (1 - alphas_cumprod[then]).sqrt() * noise
    return x


def ddim_sample_inputs():
    return torch.randn(4, 4)


@torch.no_grad()
def classifier_free_guidance(x, t, scale=3.0):
    """Guided noise, with the standard deviation rescaled."""
    cond, uncond = predict_noise(torch.cat([x, x * 0.5]), torch.cat([t, t])).chunk(2)
    guided = uncond + scale * (cond - uncond)
    factor = cond.std(dim=1, keepdim=True) / guided.std(dim=1, keepdim=True)
    return 0.7 * guided * factor + 0.3 * guided


def classifier_free_guidance_inputs():
    return torch.randn(4, 4), torch.randint(0, 20, (4,))


def karras_sigmas(ramp, rho=7.0):
    """The noise levels of Karras et al."""
    low, high = 0.002 ** (1 / rho), 80.0 ** (1 / rho)
    sigmas = (high + ramp * (low - high)) ** rho
    return F.pad(sigmas, (0, 1), value=0.0)


def karras_sigmas_inputs():
    return torch.linspace(0, 1, 8)


def edm_preconditioned(x, sigma):
    """The preconditioned denoiser of EDM."""
    sigma = sigma[:, None]
    c_skip = 0.25 / (sigma**2 + 0.25)
    c_out = sigma * 0.5 * (sigma**2 + 0.25) ** -0.5
    c_in = (sigma**2 + 0.25) ** -0.5
    return c_skip * x + c_out * predict_noise(c_in * x, sigma[:, 0].log() / 4)


def edm_preconditioned_inputs():
    return torch.randn(5, 4, requires_grad=True), torch.rand(5) + 0.1


@torch.no_grad()
def heun_step(x, sigma, sigma_next):
    """A second-order step along the probability flow."""
    d = (x - edm_preconditioned(x, sigma)) / sigma[:, None]
    euler = x + (sigma_next - sigma)[:, None] * d
    d_prime = (euler - edm_preconditioned(euler, sigma_next)) / sigma_next[:, None]
    return x + (sigma_next - sigma)[:, None] * (0.5 * d + 0.5 * d_prime)


def heun_step_inputs():
    return torch.randn(3, 4), torch.tensor([2.0, 1.0, 0.5]), torch.tensor([1.0, 0.5, 0.25])


def flow_matching_loss(x1):
    """Rectified flow: the velocity between noise and data at a random time."""
    x0 = torch.randn_like(x1)
    t = torch.rand(x1.shape[0], device=x1.device)
    xt = torch.lerp(x0, x1, t[:, None])
    return (predict_noise(xt, t * 20) - (x1 - x0)).pow(2).mean()


def flow_matching_loss_inputs():
    return torch.randn(8, 4)


def score_matching(x, sigma):
    """Denoising score matching, with the gradient of an energy as the score."""
    x = x.detach().requires_grad_()
    energy = 0.5 * (predict_noise(x, sigma * 20) ** 2).sum()
    (score,) = torch.autograd.grad(energy, x, create_graph=True)
    return (score * sigma[:, None] + x).pow(2).mean()


def score_matching_inputs():
    return torch.randn(4, 4), torch.rand(4)


ema_model = nn.Linear(4, 4)
ema_shadow = nn.Linear(4, 4).requires_grad_(False)
ema_step_count = torch.zeros(())


@torch.no_grad()
def ema_update(x):
    """The moving average of a model with a warm-up of its decay."""
    ema_step_count.add_(1)
    decay = torch.clamp((1 + ema_step_count) / (10 + ema_step_count), max=0.999)
    for shadow, param in zip(ema_shadow.parameters(), ema_model.parameters()):
        shadow.lerp_(param, 1.0 - decay)
    return ema_shadow(x)


def ema_update_inputs():
    return torch.randn(3, 4)


def dynamic_threshold(x, p=0.9):
    """The dynamic thresholding of Imagen."""
    s = torch.quantile(x.flatten(1).abs(), p, dim=-1).clamp(min=1.0)[:, None, None]
    return x.clamp(-s, s) / s


def dynamic_threshold_inputs():
    return torch.randn(3, 4, 5)


def variational_bound(mean1, logvar1, mean2, logvar2):
    """The KL divergence between two diagonal normal distributions, in bits."""
    kl = 0.5 * (-1.0 + logvar2 - logvar1 + torch.exp(logvar1 - logvar2) + (mean1 - mean2) ** 2 * torch.exp(-logvar2))
    return kl.flatten(1).mean(1) / math.log(2.0)


def variational_bound_inputs():
    return tuple(torch.randn(3, 6, requires_grad=True) for _ in range(4))


def discretised_likelihood(x, means, log_scales):
    """The log likelihood of 8-bit pixels under a discretised Gaussian."""

    def cdf(v):
        return 0.5 * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (v + 0.044715 * v**3)))

    centred, inv = x - means, torch.exp(-log_scales)
    plus, minus = cdf(inv * (centred + 1 / 255)), cdf(inv * (centred - 1 / 255))
    inner = torch.log((plus - minus).clamp(min=1e-12))
    upper, lower = torch.log((1 - minus).clamp(min=1e-12)), torch.log(plus.clamp(min=1e-12))
    return torch.where(x < -0.999, lower, torch.where(x > 0.999, upper, inner))


def discretised_likelihood_inputs():
    return (
        (torch.rand(3, 8) * 2 - 1).round(decimals=2),
        torch.randn(3, 8, requires_grad=True) * 0.3,
        torch.zeros(3, 8) - 1,
    )


def inpainting_blend(x, known, mask, t, noise):
    """The known part of an image, noised to the present time and put in place."""
    x = x.clone()
    noised = q_sample(known, t, noise)
    x[mask] = noised[mask]
    return x


def inpainting_blend_inputs():
    return torch.randn(2, 6), torch.randn(2, 6), torch.rand(2, 6) > 0.5, torch.randint(0, 20, (2,)), torch.randn(2, 6)


diffusion_optimizer = torch.optim.AdamW(denoiser.parameters(), lr=1e-3)


def diffusion_train_step(x, noise, t):
    """A whole step: loss, backward, clipping, AdamW."""
    loss = F.mse_loss(predict_noise(q_sample(x, t, noise), t), noise)
    loss.backward()
    nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
    diffusion_optimizer.step()
    diffusion_optimizer.zero_grad()
    return loss.detach()


def diffusion_train_step_inputs():
    return torch.randn(6, 4), torch.randn(6, 4), torch.randint(0, 20, (6,))


def pixel_unshuffle_down(x, weight):
    """Down-sampling by space-to-depth and a pointwise convolution."""
    return F.conv2d(F.pixel_unshuffle(x, 2), weight)


def pixel_unshuffle_down_inputs():
    return torch.randn(1, 2, 6, 6, requires_grad=True), torch.randn(3, 8, 1, 1, requires_grad=True)
