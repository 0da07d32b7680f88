//! For tests only: every device, closeness, gradient checks, a counting allocator.
