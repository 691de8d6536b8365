"""GANs, autoencoders, flows and energy models: generators, critics and the losses between them."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

critic = nn.Sequential(nn.Linear(4, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
generator = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 4))


class DcganGenerator(nn.Module):
    """Transposed convolutions and batch norm down to a tanh image."""

    def __init__(self, nz=6, ngf=4):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf, 1, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, z):
        return self.main(z)


def DcganGenerator_inputs():
    return torch.randn(3, 6, 1, 1)


def discriminator_loss(real, fake):
    """The non-saturating loss over logits with one-sided label smoothing."""
    real_logits, fake_logits = critic(real), critic(fake.detach())
    return F.binary_cross_entropy_with_logits(
        real_logits, torch.full_like(real_logits, 0.9)
    ) + F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))


def discriminator_loss_inputs():
    return torch.randn(6, 4), torch.randn(6, 4, requires_grad=True)


def gradient_penalty(real, fake, eps):
    """The penalty of WGAN-GP on the norm of the critic's gradient."""
    mixed = (eps * real + (1 - eps) * fake).requires_grad_()
    scores = critic(mixed)
    (gradients,) = torch.autograd.grad(scores, mixed, torch.ones_like(scores), create_graph=True)
    return 10.0 * ((gradients.norm(2, dim=1) - 1) ** 2).mean()


def gradient_penalty_inputs():
    return torch.randn(5, 4), torch.randn(5, 4), torch.rand(5, 1)


def r1_penalty(real):
    """The R1 regulariser on real images."""
    real = real.detach().requires_grad_()
    (g,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return 0.5 * 10 * g.square().sum(dim=1).mean()


def r1_penalty_inputs():
    return torch.randn(5, 4)


def hinge_losses(real, fake):
    """The hinge losses of critic and generator."""
    d = F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()
    return d, -fake.mean()


def hinge_losses_inputs():
    return torch.randn(8, requires_grad=True), torch.randn(8, requires_grad=True)


generator_optimizer = torch.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.5, 0.999))


def generator_step(z):
    """A step of the generator through the critic."""
    generator_optimizer.zero_grad()
    loss = F.softplus(-critic(generator(z))).mean()
    loss.backward()
    generator_optimizer.step()
    return loss.detach()


def generator_step_inputs():
    return torch.randn(6, 3)


@torch.no_grad()
def weight_clipping(x):
    """The clipped weights of the first Wasserstein GAN, in place."""
    for p in critic.parameters():
        p.clamp_(-0.1, 0.1)
    return critic(x)


def weight_clipping_inputs():
    return torch.randn(4, 4)


spectral = nn.Sequential(spectral_norm(nn.Linear(4, 8)), nn.LeakyReLU(0.2), nn.Linear(8, 1)).eval()


def spectrally_normed(x):
    """A critic with spectral normalisation in evaluation mode."""
    return spectral(x)


def spectrally_normed_inputs():
    return torch.randn(4, 4, requires_grad=True)


training_spectral = spectral_norm(nn.Linear(4, 4))


def power_iteration_step(x):
    """Spectral normalisation in training mode: every call advances its power iteration."""
    return training_spectral(x).relu()


def power_iteration_step_inputs():
    return torch.randn(4, 4)


class Vae(nn.Module):
    """A variational autoencoder with reparametrised noise."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(8, 6), nn.Linear(3, 8)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def forward(self, x):
        mu, logvar = self.encoder(x).chunk(2, dim=-1)
        recon = torch.sigmoid(self.decoder(self.reparameterize(mu, logvar)))
        bce = F.binary_cross_entropy(recon, x, reduction="sum")
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return bce + kld


def Vae_inputs():
    return torch.rand(5, 8)


def beta_vae_loss(recon, x, mu, logvar):
    """Reconstruction and KL losses without noise, with free bits."""
    kl = 0.5 * (mu.pow(2) + logvar.exp() - 1 - logvar)
    return F.mse_loss(recon, x, reduction="none").sum(-1).mean() + 4.0 * kl.clamp(min=0.1).sum(-1).mean()


def beta_vae_loss_inputs():
    grads = (torch.randn(5, 8, requires_grad=True), torch.randn(5, 8))
    return *grads, torch.randn(5, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)


def gumbel_softmax_sample(logits):
    """A relaxed categorical sample with a straight-through argmax."""
    return F.gumbel_softmax(logits, tau=0.7, hard=True)


def gumbel_softmax_sample_inputs():
    return torch.randn(6, 5, requires_grad=True)


def gumbel_with_noise(logits, uniform):
    """The Gumbel trick with its noise handed in."""
    gumbel = -torch.log(-torch.log(uniform + 1e-10) + 1e-10)
    soft = ((logits + gumbel) / 0.5).softmax(-1)
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    return hard - soft.detach() + soft


def gumbel_with_noise_inputs():
    return torch.randn(6, 5, requires_grad=True), torch.rand(6, 5)


code_usage, code_sum = torch.ones(6), torch.randn(6, 4)


@torch.no_grad()
def codebook_ema(x, decay=0.9):
    """The moving averages of a VQ-VAE's codebook."""
    codes = code_sum / code_usage[:, None]
    onehot = F.one_hot(torch.cdist(x, codes).argmin(-1), 6).type(x.dtype)
    code_usage.mul_(decay).add_(onehot.sum(0), alpha=1 - decay)
    code_sum.mul_(decay).add_(onehot.t() @ x, alpha=1 - decay)
    return onehot @ (code_sum / code_usage[:, None])


def codebook_ema_inputs():
    return torch.randn(10, 4)


class AffineCoupling(nn.Module):
    """The coupling layer of RealNVP with its log determinant."""

    def __init__(self, dim=4):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim // 2, 8), nn.ReLU(), nn.Linear(8, dim))

    def forward(self, x):
        a, b = x.chunk(2, dim=-1)
        s, t = self.net(a).chunk(2, dim=-1)
        s = torch.tanh(s)
        return torch.cat([a, b * s.exp() + t], -1), s.sum(-1)


def AffineCoupling_inputs():
    return torch.randn(5, 4, requires_grad=True)


def invertible_convolution(x, w):
    """Glow's 1x1 convolution with the log determinant of its weight."""
    logdet = torch.linalg.slogdet(w)[1] * x.shape[2] * x.shape[3]
    return F.conv2d(x, w[:, :, None, None]), logdet


def invertible_convolution_inputs():
    return torch.randn(2, 3, 4, 4), (torch.eye(3) + 0.2 * torch.randn(3, 3)).requires_grad_()


def flow_log_prob(z, logdet):
    """The negative log likelihood of a flow with a standard normal base."""
    prior = -0.5 * (z.pow(2) + math.log(2 * math.pi)).sum(-1)
    return -(prior + logdet).mean()


def flow_log_prob_inputs():
    return torch.randn(6, 4, requires_grad=True), torch.randn(6, requires_grad=True)


class AdaIn(nn.Module):
    """Adaptive instance normalisation of a style generator."""

    def __init__(self, channels=4, w=6):
        super().__init__()
        self.affine = nn.Linear(w, channels * 2)
        self.noise_strength = nn.Parameter(torch.zeros(1))

    def forward(self, x, w, noise):
        x = x + self.noise_strength * noise
        scale, bias = self.affine(w).view(-1, 2, x.shape[1], 1, 1).unbind(1)
        return (1 + scale) * F.instance_norm(x) + bias


def AdaIn_inputs():
    return torch.randn(2, 4, 5, 5, requires_grad=True), torch.randn(2, 6), torch.randn(2, 1, 5, 5)


def modulated_conv2d(x, weight, style):
    """StyleGAN2's modulated and demodulated grouped convolution."""
    b, c, h, w = x.shape
    weight = weight[None] * (style[:, None, :, None, None] + 1)
    weight = weight * torch.rsqrt(weight.pow(2).sum([2, 3, 4], keepdim=True) + 1e-8)
    out = F.conv2d(x.reshape(1, b * c, h, w), weight.reshape(-1, c, 3, 3), padding=1, groups=b)
    return out.reshape(b, -1, h, w)


def modulated_conv2d_inputs():
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    return torch.randn(2, 3, 5, 5, requires_grad=True), weight, torch.randn(2, 3, requires_grad=True)


def minibatch_stddev(x):
    """The standard deviation over groups of a batch as a further channel."""
    b, c, h, w = x.shape
    y = x.view(2, -1, c, h, w)
    y = (y - y.mean(0, keepdim=True)).square().mean(0).add(1e-8).sqrt().mean(dim=[1, 2, 3], keepdim=True)
    return torch.cat([x, y.repeat(2, 1, h, w)], dim=1)


def minibatch_stddev_inputs():
    return torch.randn(4, 3, 4, 4, requires_grad=True)


def cycle_consistency(real_a, real_b):
    """Cycle and identity losses of two small translators that share weights."""
    fake_b, fake_a = real_a @ generator[2].weight, real_b @ generator[2].weight.t()
    cycle = F.l1_loss(fake_b @ generator[2].weight.t(), real_a) + F.l1_loss(fake_a @ generator[2].weight, real_b)
    return 10 * cycle + fake_a.abs().mean()


def cycle_consistency_inputs():
    return torch.randn(5, 4), torch.randn(5, 16)


def langevin_step(x, noise):
    """A step of Langevin dynamics on an energy."""
    x = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(critic(x).sum(), x)
    return (x - 0.05 * g + 0.01 * noise).detach()


def langevin_step_inputs():
    return torch.randn(5, 4), torch.randn(5, 4)


masked = nn.Linear(5, 5)
autoregressive_mask = torch.tril(torch.ones(5, 5), diagonal=-1)


def masked_autoregressive(x):
    """A masked linear layer of MADE and its Bernoulli likelihood."""
    logits = F.linear(x, masked.weight * autoregressive_mask, masked.bias)
    return -F.binary_cross_entropy_with_logits(logits, (x > 0).float(), reduction="none").sum(-1)


def masked_autoregressive_inputs():
    return torch.randn(4, 5)


def total_variation(image):
    """Anisotropic total variation."""
    dh = (image[..., 1:, :] - image[..., :-1, :]).abs().sum()
    dw = (image[..., :, 1:] - image[..., :, :-1]).abs().sum()
    return (dh + dw) / image.numel()


def total_variation_inputs():
    return torch.randn(2, 3, 6, 6, requires_grad=True)


def gram_matrix_style_loss(a, b):
    """The style loss between Gram matrices of features."""

    def gram(y):
        features = y.flatten(2)
        return features.bmm(features.transpose(1, 2)) / features.shape[1] / features.shape[2]

    return F.mse_loss(gram(a), gram(b).detach())


def gram_matrix_style_loss_inputs():
    return torch.randn(2, 4, 5, 5, requires_grad=True), torch.randn(2, 4, 5, 5)


def maximum_mean_discrepancy(x, y):
    """The kernel two-sample statistic with three bandwidths."""

    def kernel(a, b):
        d = torch.cdist(a, b).pow(2)
        return sum(torch.exp(-d / (2 * s * s)) for s in (0.5, 1.0, 2.0))

    return kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean()


def maximum_mean_discrepancy_inputs():
    return torch.randn(6, 4, requires_grad=True), torch.randn(6, 4)


def sinkhorn_distance(cost):
    """Entropic optimal transport in the log domain, five iterations."""
    n, m = cost.shape
    f, g = torch.zeros(n), torch.zeros(m)
    for _ in range(5):
        f = -0.1 * (torch.logsumexp((g[None, :] - cost) / 0.1, dim=1) + math.log(m))
        g = -0.1 * (torch.logsumexp((f[:, None] - cost) / 0.1, dim=0) + math.log(n))
    plan = torch.exp((f[:, None] + g[None, :] - cost) / 0.1)
    return (plan * cost).sum() / (n * m)


def sinkhorn_distance_inputs():
    return torch.rand(4, 5, requires_grad=True)
