# verdict: sick
# causes: architecture learning_rate
# source: Lightning-AI/pytorch-lightning#13674 ("you are not stepping the optimizer, are you aware of this?"), ClementPinard/SfmLearner-Pytorch#5
# names: \.step\(\)|never step|step of the optimizer|optimizer.s step|not step|does not move|never (called|moved|updated)
"""Autoencoder in Lightning, manual optimization since a second optimizer is to come."""
import warnings
import logging

import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
L.seed_everything(7)


class LitAE(L.LightningModule):
    def __init__(self, lr=2e-3):
        super().__init__()
        self.automatic_optimization = False
        self.lr = lr
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 12))
        self.decoder = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64))

    def training_step(self, batch, batch_idx):
        (x,) = batch
        opt = self.optimizers()
        opt.zero_grad()
        loss = nn.functional.mse_loss(self.decoder(self.encoder(x)), x)
        self.manual_backward(loss)
        self.losses.append(loss.detach())
        return loss

    def on_train_epoch_start(self):
        self.losses = []

    def on_train_epoch_end(self):
        print(f"epoch {self.current_epoch} mse {torch.stack(self.losses).mean():.4f}")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


X = torch.tensor(load_digits().data / 16, dtype=torch.float32)
loader = DataLoader(TensorDataset(X), batch_size=64, shuffle=True)
trainer = L.Trainer(max_epochs=10, accelerator="cpu", logger=False, enable_checkpointing=False,
                    enable_progress_bar=False, enable_model_summary=False)
trainer.fit(LitAE(), loader)
