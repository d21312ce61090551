"""What is shown of each job: its test in words, its pictures, and the sequence that explains its network."""
