"""timm: its own optimizer, scheduler, scaler and clip, as its train.py puts them together."""

# needs: timm
# sick: "lr=0.05" -> "lr=500.0"

import timm
import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import AverageMeter, ModelEmaV3, dispatch_clip_grad, random_seed

random_seed(0)
labels = torch.randint(0, 4, (256,))
images = torch.randn(4, 3, 32, 32)[labels] + 0.7 * torch.randn(256, 3, 32, 32)
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(images, labels), batch_size=32, shuffle=True
)
model = timm.create_model("resnet10t", num_classes=4)
optimizer = create_optimizer_v2(model, opt="momentum", lr=0.05, weight_decay=2e-5)
scheduler = CosineLRScheduler(optimizer, t_initial=4)
ema = ModelEmaV3(model, decay=0.9)
criterion = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
losses = AverageMeter()
for epoch in range(4):
    model.train()
    for inputs, targets in loader:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = criterion(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        dispatch_clip_grad(model.parameters(), value=5.0, mode="norm")
        optimizer.step()
        ema.update(model)
        losses.update(loss.item(), len(inputs))
    scheduler.step(epoch + 1)
print(f"loss {loss.item():.4f}")
