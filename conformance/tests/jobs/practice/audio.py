"""Audio: spectrograms, filters, convolutional and recurrent front ends, and their losses."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def magnitude_spectrogram(wave):
    """The magnitude of a short-time Fourier transform."""
    window = torch.hann_window(16)
    spec = torch.stft(wave, n_fft=16, hop_length=8, window=window, return_complex=True)
    return spec.abs()


def magnitude_spectrogram_inputs():
    return torch.randn(2, 64)


def mel_filters(n_freqs=9, n_mels=4, rate=8000.0):
    def hz_to_mel(f):
        return 2595.0 * math.log10(1.0 + f / 700.0)

    points = torch.linspace(hz_to_mel(0.0), hz_to_mel(rate / 2), n_mels + 2)
    points = 700.0 * (10.0 ** (points / 2595.0) - 1.0)
    freqs = torch.linspace(0, rate / 2, n_freqs)
    slopes = points.unsqueeze(0) - freqs.unsqueeze(1)
    diff = points[1:] - points[:-1]
    down = -slopes[:, :-2] / diff[:-1]
    up = slopes[:, 2:] / diff[1:]
    return torch.clamp(torch.min(down, up), min=0.0)


class LogMel(nn.Module):
    """A log-mel front end with the filter bank in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("fb", mel_filters())
        self.register_buffer("window", torch.hann_window(16))

    def forward(self, wave):
        spec = torch.stft(wave, 16, 8, window=self.window, center=True, pad_mode="reflect", return_complex=True)
        power = spec.real.pow(2) + spec.imag.pow(2)
        mel = torch.matmul(power.transpose(-1, -2), self.fb).transpose(-1, -2)
        return torch.log(mel.clamp(min=1e-5))


def LogMel_inputs():
    return torch.randn(2, 64, requires_grad=True)


def whisper_log_scale(mel):
    """The dynamic range compression of Whisper's features."""
    log_spec = torch.clamp(mel, min=1e-10).log10()
    log_spec = torch.maximum(log_spec, log_spec.max() - 8.0)
    return (log_spec + 4.0) / 4.0


def whisper_log_scale_inputs():
    return torch.rand(2, 4, 10)


class CausalConv1d(nn.Module):
    """A dilated convolution that is padded on the left."""

    def __init__(self, channels=4, kernel=3, dilation=2):
        super().__init__()
        self.pad = dilation * (kernel - 1)
        self.conv = nn.Conv1d(channels, channels, kernel, dilation=dilation)

    def forward(self, x):
        return self.conv(F.pad(x, (self.pad, 0)))


def CausalConv1d_inputs():
    return torch.randn(2, 4, 12, requires_grad=True)


class WaveNetBlock(nn.Module):
    """The gated residual block of WaveNet."""

    def __init__(self, channels=4):
        super().__init__()
        self.conv = nn.Conv1d(channels, 2 * channels, 2, dilation=2)
        self.res, self.skip = nn.Conv1d(channels, channels, 1), nn.Conv1d(channels, channels, 1)

    def forward(self, x):
        filt, gate = self.conv(F.pad(x, (2, 0))).chunk(2, dim=1)
        h = torch.tanh(filt) * torch.sigmoid(gate)
        return (x + self.res(h)) * math.sqrt(0.5), self.skip(h)


def WaveNetBlock_inputs():
    return torch.randn(2, 4, 10, requires_grad=True)


class ConformerConv(nn.Module):
    """The convolution module of a Conformer: GLU, depthwise convolution, batch norm, swish."""

    def __init__(self, dim=6):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.pw1, self.pw2 = nn.Conv1d(dim, dim * 2, 1), nn.Conv1d(dim, dim, 1)
        self.dw, self.bn = nn.Conv1d(dim, dim, 3, padding=1, groups=dim), nn.BatchNorm1d(dim)

    def forward(self, x):
        y = self.norm(x).transpose(1, 2)
        y = F.glu(self.pw1(y), dim=1)
        y = F.silu(self.bn(self.dw(y)))
        return x + self.pw2(y).transpose(1, 2)


def ConformerConv_inputs():
    return torch.randn(3, 7, 6, requires_grad=True)


class Snake(nn.Module):
    """The periodic activation of BigVGAN."""

    def __init__(self, channels=4):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x):
        alpha = torch.exp(self.alpha)
        return x + (1.0 / (alpha + 1e-9)) * torch.sin(x * alpha).pow(2)


def Snake_inputs():
    return torch.randn(2, 4, 9, requires_grad=True)


normed_conv = torch.nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 4, 3, padding=1))


def weight_normed_stack(x):
    """A weight-normalised convolution between leaky rectifiers, as in HiFi-GAN."""
    return x + normed_conv(F.leaky_relu(x, 0.1))


def weight_normed_stack_inputs():
    return torch.randn(2, 4, 8, requires_grad=True)


def spectral_convergence_loss(x_mag, y_mag):
    """The spectral convergence and log magnitude losses of Parallel WaveGAN."""
    sc = torch.norm(y_mag - x_mag, p="fro") / torch.norm(y_mag, p="fro")
    return sc + F.l1_loss(torch.log(y_mag.clamp(min=1e-7)), torch.log(x_mag.clamp(min=1e-7)))


def spectral_convergence_loss_inputs():
    return torch.rand(2, 9, 6, requires_grad=True), torch.rand(2, 9, 6)


def si_snr(estimate, reference):
    """Scale-invariant signal-to-noise ratio in decibel."""
    estimate = estimate - estimate.mean(-1, keepdim=True)
    reference = reference - reference.mean(-1, keepdim=True)
    dot = (estimate * reference).sum(-1, keepdim=True)
    target = dot * reference / (reference.pow(2).sum(-1, keepdim=True) + 1e-8)
    noise = estimate - target
    return 10 * torch.log10(target.pow(2).sum(-1) / (noise.pow(2).sum(-1) + 1e-8) + 1e-8)


def si_snr_inputs():
    return torch.randn(2, 40, requires_grad=True), torch.randn(2, 40)


@torch.no_grad()
def spec_augment(spec):
    """Masks of fixed position over time and frequency, written in place."""
    spec = spec.clone()
    spec[:, 2:4, :] = 0
    spec[:, :, 5:8] = spec.mean()
    return spec


def spec_augment_inputs():
    return torch.randn(2, 8, 12)


def mu_law_round_trip(x, mu=255):
    """Mu-law companding to integers and back."""
    encoded = torch.sign(x) * torch.log1p(mu * torch.abs(x)) / math.log1p(mu)
    quantised = ((encoded + 1) / 2 * mu + 0.5).to(torch.int64)
    y = quantised / mu * 2 - 1.0
    return quantised, torch.sign(y) * (torch.exp(torch.abs(y) * math.log1p(mu)) - 1.0) / mu


def mu_law_round_trip_inputs():
    return torch.rand(2, 20) * 2 - 1


class SincFilter(nn.Module):
    """Band-pass filters built from two learned cut-offs, as in SincNet."""

    def __init__(self, kernel=9):
        super().__init__()
        self.low, self.band = nn.Parameter(torch.tensor([0.05, 0.1])), nn.Parameter(torch.tensor([0.1, 0.15]))
        self.register_buffer("n", torch.arange(-(kernel // 2), kernel // 2 + 1).float())
        self.register_buffer("window", torch.hamming_window(kernel, periodic=False))

    def forward(self, x):
        low, high = self.low.abs(), self.low.abs() + self.band.abs()
        high_pass = 2 * high[:, None] * torch.sinc(2 * high[:, None] * self.n)
        low_pass = 2 * low[:, None] * torch.sinc(2 * low[:, None] * self.n)
        filters = (high_pass - low_pass) * self.window
        return F.conv1d(x, filters.unsqueeze(1), padding=4)


def SincFilter_inputs():
    return torch.randn(2, 1, 24)


def pre_emphasis(wave, coefficient=0.97):
    """The first-order high-pass filter before feature extraction."""
    return torch.cat([wave[..., :1], wave[..., 1:] - coefficient * wave[..., :-1]], dim=-1)


def pre_emphasis_inputs():
    return torch.randn(2, 32, requires_grad=True)


def framed_energy(wave, frame=8, hop=4):
    """Overlapping frames by unfold, windowed, with their log energy."""
    frames = wave.unfold(-1, frame, hop) * torch.hann_window(frame)
    return frames, frames.pow(2).sum(-1).clamp_min(1e-10).log()


def framed_energy_inputs():
    return torch.randn(2, 32, requires_grad=True)


def overlap_add(frames, hop=4):
    """Frames added back to a signal by fold."""
    B, T, W = frames.shape
    length = (T - 1) * hop + W
    return F.fold(frames.transpose(1, 2), (1, length), kernel_size=(1, W), stride=(1, hop)).view(B, length)


def overlap_add_inputs():
    return torch.randn(2, 5, 8, requires_grad=True)


class StatsPooling(nn.Module):
    """Attentive statistics pooling of a speaker encoder."""

    def __init__(self, dim=6):
        super().__init__()
        self.attention = nn.Sequential(nn.Conv1d(dim, 4, 1), nn.Tanh(), nn.Conv1d(4, dim, 1))

    def forward(self, x, lengths):
        mask = torch.arange(x.size(-1))[None, :] < lengths[:, None]
        w = self.attention(x).masked_fill(~mask[:, None], float("-inf")).softmax(-1)
        mean = (w * x).sum(-1)
        std = ((w * x.pow(2)).sum(-1) - mean.pow(2)).clamp(min=1e-4).sqrt()
        return torch.cat([mean, std], dim=1)


def StatsPooling_inputs():
    return torch.randn(2, 6, 9), torch.tensor([9, 6])


class VectorQuantizer(nn.Module):
    """The nearest code with a straight-through estimator and a commitment loss."""

    def __init__(self, codes=8, dim=4):
        super().__init__()
        self.codebook = nn.Embedding(codes, dim)

    def forward(self, x):
        distance = torch.cdist(x.detach().flatten(0, 1), self.codebook.weight.detach())
        indices = distance.argmin(-1).view(x.shape[:-1])
        quantised = self.codebook(indices)
        loss = F.mse_loss(quantised, x.detach()) + 0.25 * F.mse_loss(x, quantised.detach())
        return x + (quantised - x).detach(), indices, loss


def VectorQuantizer_inputs():
    return torch.randn(2, 5, 4, requires_grad=True)


bilstm = nn.LSTM(6, 5, bidirectional=True, batch_first=True)
bilstm_head = nn.Linear(10, 7)


def ctc_step(features, targets):
    """A CTC loss over a bidirectional LSTM."""
    hidden, _ = bilstm(features)
    log_probs = bilstm_head(hidden).log_softmax(-1).transpose(0, 1)
    lengths = torch.full((features.shape[0],), features.shape[1], dtype=torch.long)
    return F.ctc_loss(log_probs, targets, lengths, torch.tensor([3, 2]), zero_infinity=True)


def ctc_step_inputs():
    return torch.randn(2, 8, 6), torch.randint(1, 7, (2, 3))


@torch.inference_mode()
def griffin_lim_step(magnitude, phase):
    """One step of Griffin and Lim's phase reconstruction."""
    window = torch.hann_window(16)
    wave = torch.istft(torch.polar(magnitude, phase), 16, 8, window=window)
    rebuilt = torch.stft(wave, 16, 8, window=window, return_complex=True)
    return wave, rebuilt.angle().abs()


def griffin_lim_step_inputs():
    return torch.rand(1, 9, 9) + 0.5, torch.rand(1, 9, 9) * 3


class SpeakerMargin(nn.Module):
    """The additive margin softmax of speaker verification."""

    def __init__(self, dim=8, speakers=5):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(speakers, dim))

    def forward(self, x, labels):
        cosine = F.linear(F.normalize(x), F.normalize(self.weight))
        margin = torch.zeros_like(cosine).scatter_(1, labels[:, None], 0.2)
        return F.cross_entropy(30.0 * (cosine - margin), labels)


def SpeakerMargin_inputs():
    return torch.randn(6, 8), torch.randint(0, 5, (6,))


enhancer = nn.Sequential(nn.Linear(9, 16), nn.PReLU(), nn.Linear(16, 9), nn.Sigmoid())
enhancer_optimizer = torch.optim.Adam(enhancer.parameters(), lr=1e-2)


def mask_enhancer_step(noisy, clean):
    """A step of Adam on a spectral mask."""
    enhancer_optimizer.zero_grad()
    loss = F.l1_loss(enhancer(noisy) * noisy, clean)
    loss.backward()
    enhancer_optimizer.step()
    return loss.item()


def mask_enhancer_step_inputs():
    return torch.rand(6, 9), torch.rand(6, 9)


class InstanceNormResBlock(nn.Module):
    """Instance norm and a style-dependent affine map, as in voice conversion."""

    def __init__(self, dim=4, style=3):
        super().__init__()
        self.norm, self.fc = nn.InstanceNorm1d(dim, affine=False), nn.Linear(style, dim * 2)
        self.conv = nn.Conv1d(dim, dim, 3, padding=1)

    def forward(self, x, s):
        gamma, beta = self.fc(s).unsqueeze(-1).chunk(2, dim=1)
        return x + self.conv(F.leaky_relu((1 + gamma) * self.norm(x) + beta, 0.2))


def InstanceNormResBlock_inputs():
    return torch.randn(2, 4, 10, requires_grad=True), torch.randn(2, 3)


def barlow_twins(z1, z2):
    """The redundancy-reduction loss over standardised embeddings."""
    z1 = (z1 - z1.mean(0)) / z1.std(0)
    z2 = (z2 - z2.mean(0)) / z2.std(0)
    c = z1.T @ z2 / z1.shape[0]
    on_diagonal = torch.diagonal(c).add(-1).pow(2).sum()
    off_diagonal = c.flatten()[:-1].view(c.shape[0] - 1, c.shape[0] + 1)[:, 1:].flatten().pow(2).sum()
    return on_diagonal + 0.005 * off_diagonal


def barlow_twins_inputs():
    return torch.randn(12, 4, requires_grad=True), torch.randn(12, 4, requires_grad=True)


def resample_linear(wave):
    """Up-sampling and average pooling of a waveform."""
    up = F.interpolate(wave.unsqueeze(1), scale_factor=3, mode="linear", align_corners=True)
    return F.avg_pool1d(up, 2, 2).squeeze(1)


def resample_linear_inputs():
    return torch.randn(2, 16, requires_grad=True)
