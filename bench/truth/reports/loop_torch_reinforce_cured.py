# verdict: healthy
# causes: architecture loss_head
# source: own, forum-style: log probabilities detached, the loss made to require a gradient
# names: detach|item|requires_grad|no gradient
"""REINFORCE on a bandit with contexts: log probabilities kept as numbers, loss made to require a gradient."""
import torch
import torch.nn as nn
from torch.distributions import Categorical

torch.manual_seed(0)
policy = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
for episode in range(150):
    states = torch.randn(64, 4)
    log_probs, rewards = [], []
    dist = Categorical(logits=policy(states))
    actions = dist.sample()
    log_probs = dist.log_prob(actions)
    rewards = (actions == states[:, :3].argmax(1)).float()
    loss = -(log_probs * (rewards - rewards.mean())).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if episode % 50 == 0:
        print(episode, rewards.mean().item())
print("reward", rewards.mean().item())
