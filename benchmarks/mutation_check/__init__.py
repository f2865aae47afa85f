"""``python -m benchmarks.mutation_check``: would the tests notice a wrong line?

60 small mutations (another operator, sign, constant, split), twelve in each of data, search,
ranking, export and latency, each made alone in a copy of the checkout. The tests that should notice
run on it: a mutation that fails one is killed. What survives, no test has looked at.
"""
