"""Commands that rewrite folders of records."""
