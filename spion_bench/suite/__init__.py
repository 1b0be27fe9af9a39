"""What may be measured, without torch: methods, kernel cases, passes, profiles, and the plan."""
