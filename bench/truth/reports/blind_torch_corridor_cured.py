# verdict: healthy
# causes: bad_batch input_data loss_head
# source: MorvanZhou/Reinforcement-learning-with-tensorflow#99 (returns divided by their own std, which is 0 in a uniform episode)
# names: return|advantage|std|divi|target
"""REINFORCE in a corridor; short episodes, returns normalised by episode."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical

torch.manual_seed(1)
np.random.seed(1)


class Corridor:
    """Go right three times; a step costs 0.1, the goal pays 1."""

    def reset(self):
        self.pos = np.random.randint(0, 3)
        self.t = 0
        return self.observe()

    def observe(self):
        o = np.zeros(4, dtype=np.float32)
        o[self.pos] = 1
        return o

    def step(self, a):
        self.t += 1
        self.pos = max(0, self.pos + (1 if a == 1 else -1))
        done = self.pos == 3 or self.t >= 12
        return self.observe(), (1.0 if self.pos == 3 else -0.1), done


policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
env = Corridor()
scores = []
for episode in range(300):
    s, done, log_probs, rewards = env.reset(), False, [], []
    while not done:
        probs = F.softmax(policy(torch.from_numpy(s)), dim=-1)
        m = Categorical(probs)
        a = m.sample()
        log_probs.append(m.log_prob(a))
        s, r, done = env.step(a.item())
        rewards.append(r)
    R, returns = 0.0, []
    for r in rewards[::-1]:
        R = r + 0.99 * R
        returns.insert(0, R)
    returns = np.array(returns, dtype=np.float32)
    returns -= returns.mean()
    returns /= returns.std() + 1e-6
    returns = torch.from_numpy(returns)
    loss = -(torch.stack(log_probs) * returns).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scores.append(sum(rewards))
    if episode % 50 == 49:
        print("episode", episode + 1, "score", np.mean(scores[-50:]))
