# verdict: sick
# causes: loss_head bad_batch input_data normalisation
# source: DLR-RM/stable-baselines3#1150, openai/spinningup issues (advantages of one step normalised by their std: nan)
# names: std|one element|unbiased|single
# figure: \d+ (0\.\d+)(?#score)
import torch
from torch import nn
from torch.distributions import Categorical

torch.manual_seed(2)
policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
best = torch.randn(4, 3)


def play():
    """Some rounds; a round ends by itself with a quarter's chance."""
    states, actions, rewards = [], [], []
    while True:
        state = torch.randn(4)
        with torch.no_grad():
            action = Categorical(logits=policy(state)).sample()
        states.append(state)
        actions.append(action)
        rewards.append(float(action == (state @ best).argmax()))
        if torch.rand(1).item() < 0.25:
            return torch.stack(states), torch.stack(actions), torch.tensor(rewards)


average = 0.33
for update in range(400):
    states, actions, rewards = play()
    advantage = rewards - average
    advantage = advantage / (advantage.std() + 1e-8) if True else advantage
    log_prob = Categorical(logits=policy(states)).log_prob(actions)
    loss = -(log_prob * advantage.clamp(-3, 3)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    average = 0.95 * average + 0.05 * rewards.mean().item()
    if update % 50 == 0:
        print(update, average)
