"""Start states with their needs, goals and scripted solutions, shared by biases."""
