"""Networks and trainings in words, which rules must and must not find."""
