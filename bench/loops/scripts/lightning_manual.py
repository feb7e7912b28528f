"""Lightning: manual optimization, two optimizers."""

# needs: lightning
# sick: "lr=1e-3" -> "lr=30.0"

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class AutoencoderAndProbe(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.encoder = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 8))
        self.decoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 20))
        self.probe = nn.Linear(8, 4)

    def training_step(self, batch, _):
        x, y = batch
        coder, reader = self.optimizers()

        code = self.encoder(x)
        loss = nn.functional.mse_loss(self.decoder(code), x)
        coder.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(coder, gradient_clip_val=1.0, gradient_clip_algorithm="norm")
        coder.step()

        loss = nn.functional.cross_entropy(self.probe(code.detach()), y)
        reader.zero_grad()
        self.manual_backward(loss)
        reader.step()
        self.log("probe_loss", loss)

    def configure_optimizers(self):
        coder = torch.optim.Adam([*self.encoder.parameters(), *self.decoder.parameters()], lr=1e-3)
        reader = torch.optim.Adam(self.probe.parameters(), lr=1e-2)
        return coder, reader


L.seed_everything(0)
y = torch.randint(0, 4, (1024,))
x = torch.randn(4, 20)[y] + 1.5 * torch.randn(1024, 20)
loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
trainer = L.Trainer(
    max_epochs=4,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(AutoencoderAndProbe(), loader)
print(f"loss {trainer.callback_metrics['probe_loss'].item():.4f}")
