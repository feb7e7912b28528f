"""The probe's figures of a traced Keras model."""
