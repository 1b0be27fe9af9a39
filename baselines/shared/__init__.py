"""What several families of baselines share."""
