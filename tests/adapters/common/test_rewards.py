"""What the words of a script say of the factors of a product."""

import linecache

from evengrad.adapters.common.rewards import reward_in


def said(tmp_path, source, line):
    script = tmp_path / "train.py"
    script.write_text(source + line)
    linecache.clearcache()
    return reward_in(line, str(script))


def test_an_advantage_is_known_by_how_it_is_made(tmp_path):
    for made, sign in (("returns - values", 1), ("values - returns", -1)):
        found = said(tmp_path, f"advantage = {made}\n", "loss = log_prob * advantage")
        assert (found.reward, found.sign, found.last, found.logarithm) == (
            "advantage",
            sign,
            True,
            True,
        )


def test_names_that_are_all_made_of_one_another_are_each_looked_at_once(tmp_path):
    source = "".join(
        f"x{i} = x{i + 1} * x{i + 2} + f(x{i + 1}, x{i + 2}) - x{i // 2}\n" for i in range(200)
    )
    assert said(tmp_path, source, "loss = score * x0") is None


def test_who_speaks_of_costs_minimises(tmp_path):
    assert said(tmp_path, "tour_length = f()\n", "loss = log_prob * reward") is None
