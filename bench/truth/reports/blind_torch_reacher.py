# verdict: sick
# causes: loss_head architecture
# source: philtabor/Actor-Critic-Methods-Paper-To-Code#7, cpnota/autonomous-learning-library#139
# names: \blog\b|negative|clamp
"""Soft policy (SAC style) on a one-step reaching task; actions run from -2 to 2."""
import torch as T
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Normal

T.manual_seed(0)


class Actor(nn.Module):
    def __init__(self, obs=3, act=2, max_action=2.0):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(obs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.mu, self.sigma = nn.Linear(64, act), nn.Linear(64, act)
        self.max_action = max_action
        self.reparam_noise = 1e-6

    def sample(self, obs):
        h = self.body(obs)
        dist = Normal(self.mu(h), T.clamp(self.sigma(h), self.reparam_noise, 1))
        raw = dist.rsample()
        action = T.tanh(raw) * self.max_action
        log_probs = dist.log_prob(raw)
        log_probs -= T.log(1 - action.pow(2) + self.reparam_noise)
        return action, log_probs.sum(1, keepdim=True)


actor = Actor()
opt = T.optim.Adam(actor.parameters(), lr=1e-3)
alpha = 0.05
for step in range(600):
    obs = T.rand(128, 3) * 2 - 1
    goal = T.stack([obs[:, 0] + obs[:, 1], obs[:, 2] * 1.5], 1).clamp(-1.8, 1.8)
    action, logp = actor.sample(obs)
    reward = -((action - goal) ** 2).sum(1, keepdim=True)
    actor_loss = (alpha * logp - reward).mean()
    opt.zero_grad()
    actor_loss.backward()
    opt.step()
    if step % 100 == 0:
        print("step", step, "loss", actor_loss.item(), "reward", reward.mean().item())
