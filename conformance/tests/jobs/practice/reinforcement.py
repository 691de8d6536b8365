"""Reinforcement: policies, value targets, returns, replay and the losses of the usual algorithms."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Categorical, Normal

actor = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
critic = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))


def ppo_loss(obs, actions, old_logprob, advantages, returns):
    """The clipped surrogate with a value loss and an entropy bonus."""
    dist = Categorical(logits=actor(obs))
    ratio = (dist.log_prob(actions) - old_logprob).exp()
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    surrogate = torch.max(-advantages * ratio, -advantages * torch.clamp(ratio, 0.8, 1.2)).mean()
    value_loss = 0.5 * (critic(obs).view(-1) - returns).pow(2).mean()
    return surrogate + 0.5 * value_loss - 0.01 * dist.entropy().mean()


def ppo_loss_inputs():
    return torch.randn(8, 4), torch.randint(0, 3, (8,)), -torch.rand(8) - 0.5, torch.randn(8), torch.randn(8)


def approximate_kl(logratio):
    """The two estimates of the KL divergence that PPO logs, and the clipped fraction."""
    with torch.no_grad():
        ratio = logratio.exp()
        return (-logratio).mean(), ((ratio - 1) - logratio).mean(), ((ratio - 1.0).abs() > 0.2).float().mean()


def approximate_kl_inputs():
    return torch.randn(16) * 0.2


@torch.no_grad()
def generalised_advantages(rewards, values, dones, gamma=0.99, lam=0.95):
    """Generalised advantage estimation, backwards through time in place."""
    advantages = torch.zeros_like(rewards)
    last = torch.zeros_like(rewards[0])
    for t in reversed(range(rewards.shape[0])):
        delta = rewards[t] + gamma * values[t + 1] * (1 - dones[t]) - values[t]
        advantages[t] = last = delta + gamma * lam * (1 - dones[t]) * last
    return advantages, advantages + values[:-1]


def generalised_advantages_inputs():
    return torch.randn(5, 3), torch.randn(6, 3), (torch.rand(5, 3) > 0.8).float()


def discounted_returns(rewards, gamma=0.9):
    """Discounted returns by a product with a triangular matrix."""
    n = rewards.shape[-1]
    steps = torch.arange(n)
    powers = (steps[None, :] - steps[:, None]).clamp(min=0)
    weights = torch.triu(torch.full((n, n), gamma) ** powers)
    return rewards @ weights.T


def discounted_returns_inputs():
    return torch.randn(2, 6)


q_net, target_net = nn.Linear(4, 3), nn.Linear(4, 3).requires_grad_(False)


def dqn_loss(state, action, reward, next_state, done):
    """The Huber loss of deep Q-learning against a frozen network."""
    q = q_net(state).gather(1, action.unsqueeze(1)).squeeze(1)
    with torch.no_grad():
        target = reward + 0.99 * target_net(next_state).max(1).values * (1 - done)
    return F.smooth_l1_loss(q, target)


def dqn_loss_inputs():
    done = (torch.rand(6) > 0.7).float()
    return torch.randn(6, 4), torch.randint(0, 3, (6,)), torch.randn(6), torch.randn(6, 4), done


def double_dqn_target(reward, next_state):
    """The target of double Q-learning: one network chooses, the other judges."""
    with torch.no_grad():
        best = q_net(next_state).argmax(dim=1, keepdim=True)
        return reward + 0.99 * target_net(next_state).gather(1, best).squeeze(1)


def double_dqn_target_inputs():
    return torch.randn(6), torch.randn(6, 4)


@torch.no_grad()
def polyak_update(x, tau=0.05):
    """A soft update of the target network."""
    for param, target in zip(q_net.parameters(), target_net.parameters()):
        target.data.copy_(tau * param.data + (1 - tau) * target.data)
    return target_net(x)


def polyak_update_inputs():
    return torch.randn(3, 4)


class Dueling(nn.Module):
    """Value and advantage streams of a dueling network."""

    def __init__(self):
        super().__init__()
        self.feature, self.value, self.advantage = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 3)

    def forward(self, x):
        x = F.relu(self.feature(x))
        value, advantage = self.value(x), self.advantage(x)
        return value + advantage - advantage.mean(dim=-1, keepdim=True)


def Dueling_inputs():
    return torch.randn(5, 4)


class NoisyLinear(nn.Module):
    """Factorised noise on the weights of a linear layer."""

    def __init__(self, n_in=4, n_out=3):
        super().__init__()
        bound = 1 / math.sqrt(n_in)
        self.mu_w = nn.Parameter(torch.empty(n_out, n_in).uniform_(-bound, bound))
        self.sigma_w = nn.Parameter(torch.full((n_out, n_in), 0.5 * bound))
        self.register_buffer("eps_in", torch.randn(n_in))
        self.register_buffer("eps_out", torch.randn(n_out))

    def forward(self, x):
        def f(v):
            return v.sign() * v.abs().sqrt()

        return F.linear(x, self.mu_w + self.sigma_w * torch.outer(f(self.eps_out), f(self.eps_in)))


def NoisyLinear_inputs():
    return torch.randn(5, 4)


def quantile_huber(pred, target):
    """The quantile regression loss of QR-DQN."""
    n = pred.shape[1]
    tau = (torch.arange(n) + 0.5) / n
    diff = target.detach()[:, None, :] - pred[:, :, None]
    huber = torch.where(diff.abs() <= 1.0, 0.5 * diff.pow(2), diff.abs() - 0.5)
    return ((tau[None, :, None] - (diff.detach() < 0).float()).abs() * huber).sum(1).mean()


def quantile_huber_inputs():
    return torch.randn(3, 6, requires_grad=True), torch.randn(3, 6)


def categorical_projection(next_probs, rewards):
    """The projection of C51 onto fixed atoms, by index_add_."""
    atoms = torch.linspace(-2, 2, 9)
    tz = (rewards[:, None] + 0.9 * atoms[None]).clamp(-2, 2)
    b = (tz + 2) / 0.5
    low, high = b.floor().long(), b.ceil().long()
    low = torch.where((high > 0) & (low == high), low - 1, low)
    high = torch.where(low == high, high + 1, high)
    offset = (torch.arange(rewards.shape[0]) * 9)[:, None]
    m = torch.zeros_like(next_probs).view(-1)
    m.index_add_(0, (low + offset).view(-1), (next_probs * (high.float() - b)).view(-1))
    m.index_add_(0, (high + offset).view(-1), (next_probs * (b - low.float())).view(-1))
    return m.view_as(next_probs)


def categorical_projection_inputs():
    return torch.randn(4, 9).softmax(-1), torch.randn(4)


def squashed_gaussian(mean, log_std):
    """A reparametrised tanh-normal action with its log probability."""
    log_std = -5 + 0.5 * 7 * (torch.tanh(log_std) + 1)
    normal = Normal(mean, log_std.exp())
    x = normal.rsample()
    y = torch.tanh(x)
    log_prob = normal.log_prob(x) - torch.log(1 - y.pow(2) + 1e-6)
    return y, log_prob.sum(1, keepdim=True)


def squashed_gaussian_inputs():
    return torch.randn(6, 2, requires_grad=True), torch.randn(6, 2, requires_grad=True)


sac_q1, sac_q2 = nn.Linear(6, 1), nn.Linear(6, 1)
log_alpha = nn.Parameter(torch.zeros(1))


def sac_losses(obs, action, log_prob, target):
    """The critic, actor and temperature losses of soft actor-critic."""
    sa = torch.cat([obs, action], dim=1)
    q1, q2 = sac_q1(sa), sac_q2(sa)
    critic_loss = F.mse_loss(q1, target) + F.mse_loss(q2, target)
    alpha = log_alpha.exp().detach()
    actor_loss = (alpha * log_prob - torch.min(q1, q2)).mean()
    alpha_loss = (-log_alpha.exp() * (log_prob.detach() - 2)).mean()
    return critic_loss, actor_loss, alpha_loss


def sac_losses_inputs():
    return (
        torch.randn(5, 4),
        torch.randn(5, 2, requires_grad=True),
        torch.randn(5, 1, requires_grad=True),
        torch.randn(5, 1),
    )


def td3_target(next_action, next_obs, reward):
    """Target policy smoothing with clipped noise, and the smaller of two critics."""
    with torch.no_grad():
        noise = (torch.randn_like(next_action) * 0.2).clamp(-0.5, 0.5)
        sa = torch.cat([next_obs, (next_action + noise).clamp(-1, 1)], 1)
        return reward + 0.99 * torch.minimum(sac_q1(sa), sac_q2(sa))


def td3_target_inputs():
    return torch.rand(5, 2), torch.randn(5, 4), torch.randn(5, 1)


def reinforce_loss(logits, actions, returns):
    """The score-function loss with a baseline."""
    logp = F.log_softmax(logits, -1).gather(-1, actions[..., None]).squeeze(-1)
    baseline = returns.mean(0, keepdim=True)
    return -(logp * (returns - baseline)).mean()


def reinforce_loss_inputs():
    return torch.randn(4, 5, 3, requires_grad=True), torch.randint(0, 3, (4, 5)), torch.randn(4, 5)


def v_trace(log_rhos, rewards, values, bootstrap):
    """The off-policy correction of IMPALA."""
    with torch.no_grad():
        rhos = torch.exp(log_rhos)
        clipped = torch.clamp(rhos, max=1.0)
        next_values = torch.cat([values[1:], bootstrap.unsqueeze(0)])
        deltas = clipped * (rewards + 0.99 * next_values - values)
        acc, result = torch.zeros_like(bootstrap), []
        for t in range(rewards.shape[0] - 1, -1, -1):
            acc = deltas[t] + 0.99 * clipped[t] * acc
            result.append(acc)
        result.reverse()
        return torch.stack(result) + values


def v_trace_inputs():
    return torch.randn(4, 3) * 0.3, torch.randn(4, 3), torch.randn(4, 3), torch.randn(3)


running_mean, running_var, running_count = torch.zeros(4), torch.ones(4), torch.tensor(1e-4)


@torch.no_grad()
def normalise_observations(x):
    """Running mean and variance, updated in place with every batch."""
    batch_mean, batch_var, n = x.mean(0), x.var(0, unbiased=False), x.shape[0]
    delta, total = batch_mean - running_mean, running_count + n
    m2 = running_var * running_count + batch_var * n + delta.pow(2) * running_count * n / total
    running_mean.add_(delta * n / total)
    running_var.copy_(m2 / total)
    running_count.copy_(total)
    return ((x - running_mean) / torch.sqrt(running_var + 1e-8)).clamp(-10, 10)


def normalise_observations_inputs():
    return torch.randn(8, 4)


replay = torch.zeros(16, 4)
replay_position = torch.zeros((), dtype=torch.long)


@torch.no_grad()
def replay_write_and_read(batch, indices):
    """A ring buffer that is written by index and read by sampled indices."""
    where = (replay_position + torch.arange(batch.shape[0])) % replay.shape[0]
    replay.index_copy_(0, where, batch)
    replay_position.add_(batch.shape[0]).remainder_(replay.shape[0])
    return replay[indices]


def replay_write_and_read_inputs():
    return torch.randn(5, 4), torch.randint(0, 16, (6,))


def importance_weights(priorities, indices, beta=0.4):
    """Importance weights of prioritised replay."""
    probs = priorities.pow(0.6)
    probs = probs / probs.sum()
    weights = (priorities.shape[0] * probs[indices]).pow(-beta)
    return weights / weights.max()


def importance_weights_inputs():
    return torch.rand(10) + 0.1, torch.randint(0, 10, (4,))


recurrent = nn.GRUCell(4, 8)
recurrent_head = nn.Linear(8, 3)


def recurrent_policy(obs, masks):
    """A recurrent policy whose state is reset at the ends of episodes."""
    h, logits = obs.new_zeros(obs.shape[1], 8), []
    for x, mask in zip(obs, masks):
        h = recurrent(x, h * mask[:, None])
        logits.append(recurrent_head(h))
    return torch.stack(logits), h.detach()


def recurrent_policy_inputs():
    return torch.randn(3, 2, 4), (torch.rand(3, 2) > 0.3).float()


@torch.inference_mode()
def act_greedily(obs, epsilon=0.1):
    """An epsilon-greedy action of the Q-network."""
    greedy = q_net(obs).argmax(-1)
    explore = torch.rand(obs.shape[0]) < epsilon
    return torch.where(explore, torch.randint(0, 3, greedy.shape), greedy)


def act_greedily_inputs():
    return torch.randn(6, 4)


class NatureCnn(nn.Module):
    """The convolutional torso of an Atari agent on uint8 frames."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(2, 4, 4, stride=2), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten())
        self.fc = nn.Linear(4 * 5 * 5, 6)
        for layer in (self.conv[0], self.conv[2], self.fc):
            nn.init.orthogonal_(layer.weight, math.sqrt(2))

    def forward(self, x):
        return self.fc(self.conv(x.float() / 255.0))


def NatureCnn_inputs():
    return torch.randint(0, 256, (2, 2, 16, 16), dtype=torch.uint8)


policy_optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-3, eps=1e-5)


def actor_critic_step(obs, actions, returns):
    """One step of advantage actor-critic with a shared optimiser."""
    values = critic(obs).squeeze(-1)
    logp = actor(obs).log_softmax(-1).gather(1, actions[:, None]).squeeze(1)
    advantage = returns - values
    loss = -(logp * advantage.detach()).mean() + advantage.pow(2).mean()
    policy_optimizer.zero_grad()
    loss.backward()
    policy_optimizer.step()
    return loss.detach()


def actor_critic_step_inputs():
    return torch.randn(6, 4), torch.randint(0, 3, (6,)), torch.randn(6)


def decision_transformer_tokens(returns, states, actions):
    """Returns, states and actions interleaved into one sequence."""
    b, n, d = states.shape
    stacked = torch.stack((returns, states, actions), dim=1)
    tokens = stacked.permute(0, 2, 1, 3).reshape(b, 3 * n, d)
    return F.layer_norm(tokens, (d,)).reshape(b, n, 3, d).permute(0, 2, 1, 3)[:, 1]


def decision_transformer_tokens_inputs():
    return tuple(torch.randn(2, 4, 6, requires_grad=True) for _ in range(3))


def intrinsic_curiosity(obs, next_obs):
    """The error of a predictor against a frozen random network, as a bonus."""
    with torch.no_grad():
        target = target_net(next_obs)
    error = (q_net(next_obs) - target).pow(2).mean(-1)
    return error.detach() * 0.5, error.mean() + 0.0 * obs.sum()


def intrinsic_curiosity_inputs():
    return torch.randn(5, 4), torch.randn(5, 4)
