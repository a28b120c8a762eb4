"""The pure fold of the ordered event log into bars, coverage and tallies."""
