"""What a network predicts, and how a window is made from it."""
