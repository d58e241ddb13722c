"""Speed, as ratios measured in one run: ours beside the limit beside what people use instead."""
