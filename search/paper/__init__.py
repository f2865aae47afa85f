"""``mnasnet paper``: the experiments of MnasNet's paper, at a scale that a laptop has."""
