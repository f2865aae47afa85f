"""Networks that compute: the shared weights of all candidates, and one network of its own."""
