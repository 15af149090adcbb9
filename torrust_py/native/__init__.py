"""The data plane as compiled code: the same behaviour as the portable form, for less time and memory."""
