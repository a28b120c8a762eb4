"""The Faust application: batches in, folded state kept, bars and coverage out."""
