"""Training: SFT, DualGRPO, calibration and evaluation."""
