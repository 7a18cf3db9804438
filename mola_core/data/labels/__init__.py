"""What teachers say of a dataset's pictures, stored compactly beside it: ``<dataset>/labels/<teacher>/``."""
