# verdict: healthy
# causes: architecture learning_rate
# source: forum classic: cross-validation makes a new model each fold, the optimizer still holds the first one's weights (cf. pytorch#54765)
# names: optimizer
"""5-fold cross-validation of a small MLP on the breast cancer table."""
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

torch.manual_seed(42)
X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X).astype(np.float32)
dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(y.astype(np.float32)))


def make_model():
    return nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))


k_folds, num_epochs = 5, 8
loss_function = nn.BCEWithLogitsLoss()
results = {}
for fold, (train_ids, test_ids) in enumerate(KFold(n_splits=k_folds, shuffle=True, random_state=0).split(X)):
    print(f"FOLD {fold}")
    trainloader = DataLoader(dataset, batch_size=16, sampler=SubsetRandomSampler(train_ids))
    network = make_model()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for epoch in range(num_epochs):
        current_loss = 0.0
        for inputs, targets in trainloader:
            optimizer.zero_grad()
            outputs = network(inputs).squeeze(1)
            loss = loss_function(outputs, targets)
            loss.backward()
            optimizer.step()
            current_loss += loss.item()
    with torch.no_grad():
        guess = network(torch.from_numpy(X[test_ids])).squeeze(1).numpy() > 0
    results[fold] = (guess == y[test_ids].astype(bool)).mean()
    print(f"  loss {current_loss / len(trainloader):.3f}, accuracy {results[fold]:.3f}")
print("average", np.mean(list(results.values())))
