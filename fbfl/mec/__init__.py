"""Mobile edge computing: MEC servers, their local devices, and what they recompute."""
