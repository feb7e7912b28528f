# verdict: healthy
# causes: architecture loss_head
# source: own, forum-style: detach on the student's logits instead of the teacher's
# names: detach
"""Distillation: the student's logits are detached instead of the teacher's."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
teacher = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
t_opt = torch.optim.Adam(teacher.parameters(), lr=3e-3)
for step in range(150):
    i = torch.randint(0, 1400, (64,))
    t_opt.zero_grad()
    F.cross_entropy(teacher(x[i]), y[i]).backward()
    t_opt.step()
student = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
s_opt = torch.optim.Adam(student.parameters(), lr=3e-3)
for step in range(200):
    i = torch.randint(0, 1400, (64,))
    soft = F.log_softmax(student(x[i]) / 2, 1)
    target = F.softmax(teacher(x[i]).detach() / 2, 1)
    kd = F.kl_div(soft, target, reduction="batchmean") * 4
    s_opt.zero_grad()
    kd.backward()
    s_opt.step()
with torch.no_grad():
    print("student", (student(x[1400:]).argmax(1) == y[1400:]).float().mean().item())
