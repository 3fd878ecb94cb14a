"""What every room uses: errors, array shapes, the registration of time."""
