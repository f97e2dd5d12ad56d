"""Real processes on loopback: hub, node, the commands of enrollment, a browser."""
