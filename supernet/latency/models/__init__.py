"""What a device is given to time: parts and networks as graphs, modules and files."""
