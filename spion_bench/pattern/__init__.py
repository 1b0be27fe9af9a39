"""Pattern generation (``generate``) and the test that ends dense training (``transition``)."""
