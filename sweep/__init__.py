"""Sweeps of simulated TLB-flush policies: Hydra describes, Ray carries, Parquet keeps."""

__version__ = "0.1.0"
