"""What several tests share: generated programmes with known truth."""
