"""What a network can be: architectures, the space that holds them, networks as data. No torch."""
