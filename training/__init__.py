"""Training: SFT, DualGRPO, calibration and evaluation. The recipes come with their own release."""
