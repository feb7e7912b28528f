# verdict: healthy
# causes: loss_head architecture input_data
# source: RLinf/RLinf#1568 (critic loss silently broadcasts [B] values against [B, 1] returns), vwxyzjn/cleanrl#379, PacktPublishing/Deep-Reinforcement-Learning-Hands-On#33
# names: broadcast|shape
"""Advantage actor-critic with one step episodes: pick the arm that the context asks for."""
import torch
import torch.nn as nn
from torch.distributions import Categorical

torch.manual_seed(1)
CONTEXT, ARMS, BATCH = 6, 6, 64


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(CONTEXT, 64), nn.Tanh())
        self.actor = nn.Linear(64, ARMS)
        self.critic = nn.Linear(64, 1)

    def forward(self, s):
        h = self.body(s)
        return Categorical(logits=self.actor(h)), self.critic(h).squeeze(-1)


def env_step(state, action):
    # every context pays differently, so that a good critic is worth a lot
    best = state.argmax(1)
    return 2.0 * (action == best).float() + 4.0 * (best - 2.5) + 0.1 * torch.randn(len(action))


net = ActorCritic()
optim = torch.optim.Adam(net.parameters(), lr=5e-3)
for update in range(400):
    state = torch.eye(CONTEXT)[torch.randint(CONTEXT, (BATCH,))] + 0.05 * torch.randn(BATCH, CONTEXT)
    dist, value = net(state)
    action = dist.sample()
    reward = env_step(state, action)
    advantage = reward - value
    actor_loss = -(dist.log_prob(action) * advantage.detach()).mean()
    critic_loss = advantage.pow(2).mean()
    loss = actor_loss + 0.5 * critic_loss - 0.01 * dist.entropy().mean()
    optim.zero_grad()
    loss.backward()
    optim.step()
    if update % 40 == 0:
        hit = (action == state.argmax(1)).float().mean()
        print(f"update {update} critic {critic_loss.item():.3f} best arm {hit:.2f}")
