# verdict: sick
# causes: architecture learning_rate
# source: spro/practical-pytorch#9 (the RNN is made a second time below the optimizer)
# names: optimi[sz]er (holds|has)|does not hold|none of the|another (model|network)|made (before|after)|(after|behind) the (model|network|rnn)|rnn\.parameters\(\)
import random
import torch
import torch.nn as nn

random.seed(2)
torch.manual_seed(2)

all_letters = "abcdefghijklmnopqrstuvwxyz"
n_letters = len(all_letters)
endings = {"Italian": ["ini", "etti", "ello", "ucci"], "Polish": ["ski", "czyk", "wicz", "cki"], "Greek": ["poulos", "idis", "akis", "ou"]}
all_categories = list(endings)


def make_name(category):
    stem = "".join(random.choice("bdfgklmnprst") + random.choice("aeiou") for _ in range(2))
    return stem + random.choice(endings[category])


def lineToTensor(line):
    tensor = torch.zeros(len(line), 1, n_letters)
    for li, letter in enumerate(line):
        tensor[li][0][all_letters.find(letter)] = 1
    return tensor


def randomTrainingPair():
    category = random.choice(all_categories)
    return torch.tensor([all_categories.index(category)]), lineToTensor(make_name(category))


class RNN(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super(RNN, self).__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.i2o = nn.Linear(input_size + hidden_size, output_size)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, input, hidden):
        combined = torch.cat((input, hidden), 1)
        hidden = torch.tanh(self.i2h(combined))
        output = self.softmax(self.i2o(combined))
        return output, hidden

    def initHidden(self):
        return torch.zeros(1, self.hidden_size)


n_hidden = 64
rnn = RNN(n_letters, n_hidden, len(all_categories))
criterion = nn.NLLLoss()
optimizer = torch.optim.Adam(rnn.parameters(), lr=0.002)


def train(category_tensor, line_tensor):
    hidden = rnn.initHidden()
    optimizer.zero_grad()
    for i in range(line_tensor.size()[0]):
        output, hidden = rnn(line_tensor[i], hidden)
    loss = criterion(output, category_tensor)
    loss.backward()
    optimizer.step()
    return output, loss.item()


rnn = RNN(n_letters, n_hidden, len(all_categories))
current_loss = 0
correct = 0
for iter in range(1, 1501):
    category_tensor, line_tensor = randomTrainingPair()
    output, loss = train(category_tensor, line_tensor)
    current_loss += loss
    correct += int(output.argmax(1) == category_tensor)
    if iter % 300 == 0:
        print(iter, "loss %.4f" % (current_loss / 300), "accuracy %.3f" % (correct / 300))
        current_loss = 0
        correct = 0
