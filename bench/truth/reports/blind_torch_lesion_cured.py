# verdict: healthy
# causes: loss_head input_data bad_batch
# source: jocpae/clDice#5 (what is smooth for: no foreground in the patch), faustomilletari/VNet#3 (invalid value encountered in divide)
# names: divi|smooth|eps|clamp
"""Lightning, small U-shaped net, soft Dice inside of the organ; some patches lie outside of it."""
import logging
import warnings

import lightning as L
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
L.seed_everything(1)


def patches(n, size=16):
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    x, y, organ = [], [], []
    for k in range(n):
        c = torch.rand(2) * size
        mask = ((yy - c[0]) ** 2 + (xx - c[1]) ** 2 < 16).float()
        inside = (xx < torch.randint(8, size + 1, (1,))).float() if k % 16 else torch.zeros(size, size)
        x.append(mask + 0.4 * torch.randn(size, size))
        y.append(mask)
        organ.append(inside)
    return torch.stack(x)[:, None], torch.stack(y)[:, None], torch.stack(organ)[:, None]


def dice_loss(pred, target, organ):
    pred, target = (pred * organ).flatten(1), (target * organ).flatten(1)
    inter = (pred * target).sum(1)
    return (1 - (2 * inter + 1) / ((pred + target).sum(1) + 1)).mean()


class Segmenter(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, x):
        return torch.sigmoid(self.out(self.down(x)))

    def training_step(self, batch, batch_idx):
        x, y, organ = batch
        loss = dice_loss(self(x), y, organ)
        self.log("loss", loss, on_epoch=True, on_step=False)
        return loss

    def on_train_epoch_end(self):
        print(self.current_epoch, float(self.trainer.callback_metrics["loss"]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


data = TensorDataset(*patches(320))
L.Trainer(max_epochs=8, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
          enable_model_summary=False).fit(Segmenter(), DataLoader(data, batch_size=16, shuffle=True))
