"""What accuracies are worth: the rule, and how a group of records answers it."""
