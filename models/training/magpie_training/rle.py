"""COCO's compressed masks, without any library."""


def run_lengths(text):
    """COCO's compressed runs: five bits a character; from the fourth on, the change to the last but one."""
    runs, value, shift = [], 0, 0
    for character in text.encode():
        bits = character - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
