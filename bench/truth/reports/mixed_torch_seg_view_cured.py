# verdict: healthy
# causes: loss_head architecture input_data
# source: discuss.pytorch.org "multi-class segmentation loss does not decrease" (logits of (N, C, H, W) flattened by view(-1, C) without permute)
# names: permute|view|reshape|order of the axes|axes
"""Three-class segmentation (paper, thin ink, thick ink)."""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(2)
images = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1)
masks = torch.bucketize(images.squeeze(1), torch.tensor([3.0, 11.0]))
images = images / 16 + 0.1 * torch.randn_like(images)
train_loader = DataLoader(TensorDataset(images[:1500], masks[:1500]), batch_size=32, shuffle=True)
NUM_CLASSES = 3


class SegNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
        )
        self.decoder = nn.Sequential(nn.ConvTranspose2d(32, 16, 2, stride=2), nn.ReLU())
        self.head = nn.Conv2d(16 + 1, NUM_CLASSES, 3, padding=1)

    def forward(self, x):
        return self.head(torch.cat([self.decoder(self.encoder(x)), x], dim=1))


model = SegNet()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(6):
    model.train()
    total = 0.0
    for x, y in train_loader:
        optimizer.zero_grad()
        out = model(x)
        out = out.permute(0, 2, 3, 1).reshape(-1, NUM_CLASSES)
        loss = criterion(out, y.view(-1))
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch} loss {total / len(train_loader):.4f}")
model.eval()
with torch.no_grad():
    found = model(images[1500:]).argmax(1)
    truth = masks[1500:]
    ious = [((found == c) & (truth == c)).sum() / ((found == c) | (truth == c)).sum() for c in range(NUM_CLASSES)]
print(f"final loss {total / len(train_loader):.4f} mean IoU {sum(ious).item() / NUM_CLASSES:.3f}")
