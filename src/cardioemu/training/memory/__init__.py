"""Memory that a training needs."""
