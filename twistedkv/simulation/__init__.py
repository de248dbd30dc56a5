"""The whole cluster in one process, on simulated time: every run is fixed by its seed."""
