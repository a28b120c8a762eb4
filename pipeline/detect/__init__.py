"""Pure rules: from the log's events and its clock to findings. One file per rule."""
