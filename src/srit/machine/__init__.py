"""How a student is computed on this machine: probed, proven, and kept."""
