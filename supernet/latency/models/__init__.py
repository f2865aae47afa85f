"""What a device is given to time: layers and networks as graphs, modules and files."""
