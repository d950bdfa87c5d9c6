"""What benchmarks and tests share: processes, private services, load clients."""
