"""The verdicts against the truth: is what evengrad says of real trainings right?"""
