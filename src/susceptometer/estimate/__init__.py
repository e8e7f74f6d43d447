"""What the draws say: learning coefficients, susceptibilities, influence, diagnostics, calibration."""
