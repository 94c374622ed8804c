"""A payment provider to try things out with. It speaks the contract of S4.6 and misbehaves when told to."""
