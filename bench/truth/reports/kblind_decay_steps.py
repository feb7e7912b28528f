# verdict: sick
# causes: learning_rate
# source: cjiang2/VDCNN#4 (exponential_decay with decay_steps counted as if in epochs), tensorflow#46071
# names: decay|schedule|learning rate
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

tf.keras.utils.set_random_seed(13)

X, y = load_digits(return_X_y=True)
X = (X.reshape(-1, 8, 8) / 8 - 1).astype("float32")  # eight steps of eight pixels
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, random_state=13)
train_ds = tf.data.Dataset.from_tensor_slices((X_train, y_train)).shuffle(2000).batch(32)

model = tf.keras.Sequential(
    [
        tf.keras.layers.Input((8, 8)),
        tf.keras.layers.Conv1D(32, 3, padding="same", activation="relu"),
        tf.keras.layers.Conv1D(32, 3, padding="same", activation="relu"),
        tf.keras.layers.GlobalMaxPooling1D(),
        tf.keras.layers.Dense(10),
    ]
)
# halve the rate every four epochs
lr_schedule = tf.keras.optimizers.schedules.ExponentialDecay(
    initial_learning_rate=0.05, decay_steps=4, decay_rate=0.5, staircase=True
)
optimizer = tf.keras.optimizers.SGD(learning_rate=lr_schedule, momentum=0.9)
loss_fn = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
train_acc = tf.keras.metrics.SparseCategoricalAccuracy()


@tf.function
def train_step(x, y):
    with tf.GradientTape() as tape:
        logits = model(x, training=True)
        loss = loss_fn(y, logits)
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights))
    train_acc.update_state(y, logits)
    return loss


for epoch in range(15):
    train_acc.reset_state()
    for x_batch, y_batch in train_ds:
        loss = train_step(x_batch, y_batch)
    if epoch % 5 == 4:
        print("epoch", epoch + 1, "loss", float(loss), "acc", float(train_acc.result()))
val = tf.reduce_mean(tf.cast(tf.argmax(model(X_val), 1) == y_val, tf.float32))
print("final loss", float(loss), "val accuracy", float(val))
