"""What every room may use: declared settings, fleets' tensors, device-independent random numbers."""
