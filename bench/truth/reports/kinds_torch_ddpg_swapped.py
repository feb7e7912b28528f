# verdict: sick
# causes: learning_rate loss_head architecture
# source: vy007vikas/PyTorch-ActorCriticRL#7 and forum: the actor's loss followed by the critic's step
# names: actor_optim|actor'?s? optimi[sz]er|optimizer of (the )?actor|actor.*(never|not) (trained|updated|stepped)|crossed|other('s)? loss
"""One-step DDPG: reach a target angle. state (cos, sin), action in [-1, 1]."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(5)
rng = np.random.default_rng(5)


class Actor(nn.Module):
    def __init__(self, state_dim=2, action_dim=1):
        super().__init__()
        self.fc1 = nn.Linear(state_dim, 64)
        self.fc2 = nn.Linear(64, 64)
        self.fc3 = nn.Linear(64, action_dim)

    def forward(self, state):
        x = F.relu(self.fc1(state))
        x = F.relu(self.fc2(x))
        return torch.tanh(self.fc3(x))


class Critic(nn.Module):
    def __init__(self, state_dim=2, action_dim=1):
        super().__init__()
        self.fcs1 = nn.Linear(state_dim, 64)
        self.fca1 = nn.Linear(action_dim, 64)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, 1)

    def forward(self, state, action):
        s = F.relu(self.fcs1(state))
        a = F.relu(self.fca1(action))
        x = F.relu(self.fc2(torch.cat((s, a), dim=1)))
        return self.fc3(x)


class Trainer:
    def __init__(self):
        self.actor = Actor()
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), 1e-3)
        self.critic = Critic()
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), 1e-3)
        self.memory = []

    def act(self, state, noise=0.3):
        with torch.no_grad():
            a = self.actor(torch.tensor(state)[None])[0].numpy()
        return np.clip(a + noise * rng.standard_normal(1), -1, 1).astype(np.float32)

    def optimize(self):
        rows = rng.integers(0, len(self.memory), 64)
        s, a, r = (torch.tensor(np.stack(c)) for c in zip(*(self.memory[i] for i in rows)))
        # ---------------------- optimize critic ----------------------
        y_predicted = self.critic(s, a).squeeze(1)
        loss_critic = F.smooth_l1_loss(y_predicted, r)
        self.critic_optimizer.zero_grad()
        loss_critic.backward()
        self.critic_optimizer.step()
        # ---------------------- optimize actor ----------------------
        loss_actor = -1 * torch.mean(self.critic(s, self.actor(s)))
        self.critic_optimizer.zero_grad()
        loss_actor.backward()
        self.critic_optimizer.step()
        return loss_critic.item(), loss_actor.item()


trainer = Trainer()
rewards = []
for episode in range(900):
    angle = rng.uniform(-np.pi, np.pi)
    state = np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)
    action = trainer.act(state)
    reward = np.float32(-((action[0] - 0.8 * state[1]) ** 2))
    trainer.memory.append((state, action, reward))
    rewards.append(reward)
    if episode >= 64:
        losses = trainer.optimize()
    if episode % 150 == 149:
        print(f"episode {episode} mean reward {np.mean(rewards[-150:]):.4f} critic {losses[0]:.4f} actor {losses[1]:.4f}")
