# verdict: sick
# causes: architecture learning_rate
# source: after pytorch's seq2seq translation tutorial, discuss.pytorch.org "decoder does not learn" (both optimizers made of encoder.parameters())
# names: decoder
import torch
import torch.nn as nn
import torch.optim as optim

torch.manual_seed(1)
VOCAB, HIDDEN, LENGTH = 12, 48, 5


class EncoderRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, HIDDEN)
        self.gru = nn.GRU(HIDDEN, HIDDEN, batch_first=True)

    def forward(self, tokens):
        return self.gru(self.embedding(tokens))[1]


class DecoderRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, HIDDEN)
        self.gru = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, VOCAB)

    def forward(self, tokens, hidden):
        return self.out(self.gru(self.embedding(tokens), hidden)[0])


encoder, decoder = EncoderRNN(), DecoderRNN()
encoder_optimizer = optim.Adam(encoder.parameters(), lr=0.005)
decoder_optimizer = optim.Adam(encoder.parameters(), lr=0.005)
criterion = nn.CrossEntropyLoss()

for iteration in range(300):
    source = torch.randint(2, VOCAB, (64, LENGTH))
    wanted = source.flip(1)
    given = torch.cat([torch.ones(64, 1, dtype=torch.long), wanted[:, :-1]], 1)
    encoder_optimizer.zero_grad()
    decoder_optimizer.zero_grad()
    scores = decoder(given, encoder(source))
    loss = criterion(scores.reshape(-1, VOCAB), wanted.reshape(-1))
    loss.backward()
    encoder_optimizer.step()
    decoder_optimizer.step()
    if iteration % 50 == 0:
        print(iteration, loss.item())
