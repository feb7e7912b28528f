# verdict: sick
# causes: activation loss_head input_data
# source: SO "why keras embedding not learning (for recommendation system)", keras.io collaborative_filtering_movielens without its scaling of the ratings (sigmoid output, ratings 1 to 5)
# names: sigmoid|scale|rang|\[0, 1\]|linear
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(8)
rng = np.random.default_rng(8)
num_users, num_movies, n = 120, 80, 6000
pu, pm = rng.normal(size=(num_users, 4)), rng.normal(size=(num_movies, 4))
users, movies = rng.integers(0, num_users, n), rng.integers(0, num_movies, n)
ratings = np.clip(np.round(3.0 + (pu[users] * pm[movies]).sum(1) * 0.8 + 0.2 * rng.normal(size=n)), 1, 5).astype("float32")
pairs = np.stack([users, movies], 1)


class RecommenderNet(keras.Model):
    def __init__(self, num_users, num_movies, embedding_size, **kwargs):
        super().__init__(**kwargs)
        self.user_embedding = layers.Embedding(num_users, embedding_size, embeddings_initializer="he_normal", embeddings_regularizer=keras.regularizers.l2(1e-6))
        self.user_bias = layers.Embedding(num_users, 1)
        self.movie_embedding = layers.Embedding(num_movies, embedding_size, embeddings_initializer="he_normal", embeddings_regularizer=keras.regularizers.l2(1e-6))
        self.movie_bias = layers.Embedding(num_movies, 1)

    def call(self, inputs):
        user, movie = self.user_embedding(inputs[:, 0]), self.movie_embedding(inputs[:, 1])
        dot = keras.ops.sum(user * movie, axis=1, keepdims=True)
        x = dot + self.user_bias(inputs[:, 0]) + self.movie_bias(inputs[:, 1])
        return keras.ops.sigmoid(x)


model = RecommenderNet(num_users, num_movies, 16)
model.compile(loss="mean_squared_error", optimizer=keras.optimizers.Adam(5e-3))
history = model.fit(pairs[:5400], ratings[:5400], batch_size=64, epochs=12, validation_data=(pairs[5400:], ratings[5400:]), verbose=0)
print("loss", [round(v, 3) for v in history.history["loss"][::3]], "val", history.history["val_loss"][-1], "variance", ratings.var())
