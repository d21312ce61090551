"""Code: LLVM IR in words, compiled and kept; the processor, its threads, and what every kernel has."""
