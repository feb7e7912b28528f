# verdict: sick
# causes: architecture loss_head
# source: CompVis/taming-transformers#35, Biohub/esm#92 (quantised vectors go to the decoder without the straight-through estimator: nothing populates the encoder's gradients)
# names: encoder|straight.?through|argmin|detach
"""VQ-VAE on the digits of scikit-learn."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
num_embeddings, embedding_dim, commitment_cost = 32, 8, 0.25


class VectorQuantizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(num_embeddings, embedding_dim)
        self.embedding.weight.data.uniform_(-0.5, 0.5)

    def forward(self, z):
        flat = z.permute(0, 2, 3, 1).reshape(-1, embedding_dim)
        d = flat.pow(2).sum(1, keepdim=True) + self.embedding.weight.pow(2).sum(1) - 2 * flat @ self.embedding.weight.t()
        idx = d.argmin(1)
        quantized = self.embedding(idx).view(z.shape[0], z.shape[2], z.shape[3], embedding_dim).permute(0, 3, 1, 2)
        loss = F.mse_loss(quantized, z.detach())
        return quantized, loss, idx.unique().numel()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU(), nn.Conv2d(32, embedding_dim, 1))
        self.vq = VectorQuantizer()
        self.decoder = nn.Sequential(nn.Conv2d(embedding_dim, 32, 3, 1, 1), nn.ReLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 1, 3, 1, 1))

    def forward(self, x):
        quantized, vq_loss, used = self.vq(self.encoder(x))
        return self.decoder(quantized), vq_loss, used


x = torch.tensor(load_digits().data, dtype=torch.float32).view(-1, 1, 8, 8) / 16
loader = DataLoader(TensorDataset(x), batch_size=64, shuffle=True)
model = Model()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(12):
    model.train()
    recon = total = 0.0
    for (batch,) in loader:
        optimizer.zero_grad()
        data_recon, vq_loss, used = model(batch)
        recon_error = F.mse_loss(data_recon, batch) / x.var()
        loss = recon_error + vq_loss
        loss.backward()
        optimizer.step()
        recon += recon_error.item() * len(batch)
    print(f"epoch {epoch} recon {recon / len(x):.4f} codes {used}")
