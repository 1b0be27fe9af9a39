"""What commands write into the Markdown pages: measured numbers, the record schema."""
