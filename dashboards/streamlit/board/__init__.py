"""What the pages share: the store, the sums, the look. Read `address`, `store`, `reads`, then `frame`."""
