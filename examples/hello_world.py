"""The tutorials' first text: from two letters a network writes "hello world" to its end.

The same from the command line, with the text in a file:
elman train generate hello.txt --split 100,0,0 --layers 1 --hidden 32 --epochs 200 -o hello
elman generate hello --prompt he --length 9 --temperature 0
"""

from elman.jobs import Generator

for seed in range(5):
    generator = Generator("lstm", hidden=32, layers=1, epochs=200, split=(100, 0, 0), seed=seed)
    generator.fit(b"hello world")  # bytes are the text itself; a str is the path of a file
    text, state = generator.generate("he", length=4, temperature=0)  # always the likeliest character
    rest, state = generator.generate(length=5, temperature=0, state=state)  # the state is a value: in, and out again
    print(f"seed {seed}: he|{text}|{rest}")
    assert "he" + text + rest == "hello world"
