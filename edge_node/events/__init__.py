"""What the node tells others of what happens before its camera: notices with ids, never pictures."""
