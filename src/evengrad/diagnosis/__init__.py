"""What was measured, judged: budget, causes, rules, findings."""
