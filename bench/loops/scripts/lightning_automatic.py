"""Lightning: automatic optimization."""

# needs: lightning
# sick: "lr=1e-3" -> "lr=30.0"

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)
        )

    def training_step(self, batch, _):
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


L.seed_everything(0)
y = torch.randint(0, 4, (1024,))
x = torch.randn(4, 20)[y] + 1.5 * torch.randn(1024, 20)
loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
trainer = L.Trainer(
    max_epochs=3,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Classifier(), loader)
print(f"loss {trainer.callback_metrics['train_loss'].item():.4f}")
