"""What the kernels of a program compute, keep and pass on, before any code is written: no LLVM in here."""
