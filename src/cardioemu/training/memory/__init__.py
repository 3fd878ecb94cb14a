"""What memory a training takes."""
