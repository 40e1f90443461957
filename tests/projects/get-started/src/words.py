"""How a text becomes words, for learning and for testing alike."""


def words(text, ngrams):
    """All runs of up to `ngrams` words."""
    single = text.lower().split()
    return [
        " ".join(single[start : start + size])
        for size in range(1, ngrams + 1)
        for start in range(len(single) - size + 1)
    ]
