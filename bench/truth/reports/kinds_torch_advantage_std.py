# verdict: sick
# causes: loss_head bad_batch input_data
# source: jolibrain/wheatley#93 (advantages normalised in a last minibatch of one)
# names: \bstd\b
"""PPO, clipped, on a bandit with contexts; minibatches of the rollout."""
import torch
from torch import nn
from torch.distributions import Categorical

torch.manual_seed(11)
ARMS, FEATURES = 4, 5
truth = torch.randn(FEATURES, ARMS)


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(FEATURES, 64), nn.Tanh(), nn.Linear(64, ARMS))
        self.critic = nn.Sequential(nn.Linear(FEATURES, 64), nn.Tanh(), nn.Linear(64, 1))

    def get_action_and_value(self, obs, action=None):
        probs = Categorical(logits=self.actor(obs))
        if action is None:
            action = probs.sample()
        return action, probs.log_prob(action), probs.entropy(), self.critic(obs)


agent = Agent()
optimizer = torch.optim.Adam(agent.parameters(), lr=3e-3, eps=1e-5)
num_steps, minibatch_size, clip_coef = 129, 32, 0.2
for iteration in range(30):
    obs = torch.randn(num_steps, FEATURES)
    with torch.no_grad():
        actions, logprobs, _, values = agent.get_action_and_value(obs)
        rewards = (obs @ truth).gather(1, actions[:, None]).squeeze(1)
        advantages = rewards - values.flatten()
    b_inds = torch.randperm(num_steps)
    for epoch in range(4):
        for start in range(0, num_steps, minibatch_size):
            mb = b_inds[start : start + minibatch_size]
            _, newlogprob, entropy, newvalue = agent.get_action_and_value(obs[mb], actions[mb])
            ratio = (newlogprob - logprobs[mb]).exp()
            mb_advantages = advantages[mb]
            mb_advantages = (mb_advantages - mb_advantages.mean()) / (mb_advantages.std() + 1e-8)
            pg_loss1 = -mb_advantages * ratio
            pg_loss2 = -mb_advantages * torch.clamp(ratio, 1 - clip_coef, 1 + clip_coef)
            pg_loss = torch.max(pg_loss1, pg_loss2).mean()
            v_loss = 0.5 * ((newvalue.view(-1) - rewards[mb]) ** 2).mean()
            loss = pg_loss - 0.01 * entropy.mean() + 0.5 * v_loss
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()
    if iteration % 5 == 4:
        print(f"iteration {iteration + 1}: mean reward {rewards.mean().item():.3f} (best {(obs @ truth).max(1).values.mean():.3f})")
