# verdict: sick
# causes: learning_rate
# source: Lightning-AI/pytorch-lightning#14527, #12811, #17957 (manual optimization, batch of one, accumulated losses not divided)
# names: divid|accum
"""Batch of one, accumulation by hand over 32, manual optimization."""
import logging
import warnings

import lightning as L
import torch
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
L.seed_everything(0, verbose=False)
wine = load_wine()
X = torch.tensor(StandardScaler().fit_transform(wine.data), dtype=torch.float32)
y = torch.tensor(wine.target)


class Lit(L.LightningModule):
    def __init__(self, accumulate_grad_batches=32):
        super().__init__()
        self.automatic_optimization = False
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
        self.seen = []

    def training_step(self, batch, batch_idx):
        opt = self.optimizers()
        xb, yb = batch
        loss = nn.functional.cross_entropy(self.net(xb), yb)
        self.manual_backward(loss)
        self.seen.append(loss.item())
        if (batch_idx + 1) % self.hparams.accumulate_grad_batches == 0:
            opt.step()
            opt.zero_grad()

    def on_train_epoch_end(self):
        print("epoch", self.current_epoch, "loss", sum(self.seen) / len(self.seen))
        self.seen = []

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


model = Lit()
trainer = L.Trainer(max_epochs=12, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer.fit(model, DataLoader(TensorDataset(X, y), batch_size=1, shuffle=True))
