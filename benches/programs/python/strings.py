def work():
    words = [f"word{i % 1000}" for i in range(150_000)]
    text = " ".join(words)
    return len(text.upper().split()) + sum(word.startswith("word9") for word in words) + len(text.replace("1", "one"))
