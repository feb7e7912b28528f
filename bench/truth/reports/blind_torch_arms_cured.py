# verdict: healthy
# causes: loss_head architecture
# source: forum classic: policy gradient without the minus sign, the optimizer minimises what should be maximised, the return falls
# names: sign|minus|negat|maxim|bound
"""REINFORCE on a small contextual bandit; returns between 0 and 1."""
import torch
import torch.nn as nn
import torch.optim as optim
from torch.distributions import Categorical

torch.manual_seed(3)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(5, 64)
        self.affine2 = nn.Linear(64, 5)

    def forward(self, x):
        return torch.softmax(self.affine2(torch.relu(self.affine1(x))), dim=1)


policy = Policy()
optimizer = optim.Adam(policy.parameters(), lr=1e-2)


def play(n):
    state = torch.nn.functional.one_hot(torch.randint(5, (n,)), 5).float()
    m = Categorical(policy(state))
    action = m.sample()
    reward = torch.where(action == state.argmax(1), 1.0, 0.2)
    return m.log_prob(action), reward


running = 0.4
for episode in range(600):
    log_probs, rewards = play(32)
    policy_loss = -(log_probs * (rewards - rewards.mean())).mean()
    optimizer.zero_grad()
    policy_loss.backward()
    optimizer.step()
    running = 0.95 * running + 0.05 * rewards.mean().item()
    if episode % 60 == 0:
        print(f"Episode {episode}\tloss {policy_loss.item():.3f}\taverage reward {running:.3f}")
