import re


def work():
    text = "The year 1984, the month 07 and user_name@example.org; " * 2_000
    return len(re.findall(r"\b\d{2,4}\b", text)) + len(re.findall(r"[\w.]+@[\w.]+", text)) + len(re.sub(r"\s+", " ", text))
