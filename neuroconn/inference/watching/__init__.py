"""What a run tells the outside: progress, forecasts, samples."""
